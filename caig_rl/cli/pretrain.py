"""`caig-rl pretrain`: stage A, before there are clicks to learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import Progress

from caig_rl.cli.common import ConfigFile, Overrides, console, explained, resolved_config, sources
from caig_rl.cli.training_text import print_training
from caig_rl.config.schema import Config
from caig_rl.errors import CatalogError
from caig_rl.types import Rejected

if TYPE_CHECKING:
    from caig_rl.data.pretrain_rows import PretrainFiles, TextRules


def pretrain(config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Teach pretrain.backbone to see, name and place products, from the catalog and, where there are any, captioned ads.

    A Ray Train job; run again, it goes on. pretrain.out is then a policy's folder.
    """
    with explained():
        _pretrain(resolved_config(config, overrides))


def _pretrain(settings: Config) -> None:
    import tempfile

    from actors.train_jobs.job import run_train_job
    from actors.train_jobs.pretrain_job import pretrain_job
    from caig_rl.data.clicks.splits import TRAIN, VALIDATION
    from caig_rl.models.folders import resolve_model_folder

    train = settings.pretrain
    backbone = resolve_model_folder(train.backbone, "policy", settings.policy.trust_remote_code).absolute()
    with tempfile.TemporaryDirectory(prefix="caig-rl-pretrain-files-") as files:
        written = _write_files(settings, _rules(settings, backbone), Path(files))
        counts = {split: written.rows[split] for split in (TRAIN, VALIDATION)}
        if min(counts.values()) < train.workers:
            raise CatalogError(
                f"each of {train.workers} rank(s) needs a row to train on and one to stop by: {counts}; see pretrain.validation_share"
            )
        job = pretrain_job(settings, backbone, counts[TRAIN])
        progress = run_train_job(job, Path(files), settings.cluster)
    print_training(progress, job.out)


def _rules(settings: Config, backbone: Path) -> TextRules:
    from transformers import AutoProcessor

    from caig_rl.data.pretrain_rows import TextRules

    tokenizer = AutoProcessor.from_pretrained(backbone, trust_remote_code=settings.policy.trust_remote_code).tokenizer
    return TextRules(
        tuple(tokenizer.all_special_tokens),
        settings.policy.max_tokens,
        lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]),
    )


def _write_files(settings: Config, rules: TextRules, folder: Path) -> PretrainFiles:
    from caig_rl.data.captions import load_captioned
    from caig_rl.data.pretrain_rows import write_pretrain_rows
    from caig_rl.learning.pretrain_examples import asks_about_photos

    train, (source, _, _) = settings.pretrain, sources(settings)
    if not train.creatives and not asks_about_photos(train.shares):
        raise CatalogError("pretrain.creatives is empty, and pretrain.shares asks for prompts alone: they are learned from captioned ads")
    known = {product.product_id for product in source.products}
    captioned, rejected, read = load_captioned(Path(train.creatives), train.columns, known) if train.creatives else ([], [], 0)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("pictures", total=len(source.products))
        written = write_pretrain_rows(
            source,
            captioned,
            rules,
            settings.policy.image_size,
            settings.run.seed,
            train.validation_share,
            folder,
            asks_about_photos(train.shares),
            lambda products: bar.update(task, completed=products),
        )
    written.check(rejected, read, train.max_faulty_share)
    _print_files(written, [*rejected, *written.rejected], len(source.products))
    return written


def _print_files(written: PretrainFiles, rejected: Sequence[Rejected], products: int) -> None:
    splits = ", ".join(f"{count} {split}" for split, count in written.rows.items())
    console.print(f"{products} products, {written.captioned} captioned ads; rows: {splits}", highlight=False)
    for reason, count in Counter(row.reason for row in rejected).most_common():
        first = next(row.message for row in rejected if row.reason == reason)
        console.print(f"[yellow]{reason}[/] {count}, for example {escape(first)}", highlight=False)
    if not written.captioned:
        console.print("no captioned ads (pretrain.creatives): product names and titles are learned, backgrounds are not")
