"""`caig-rl pretrain`: stage A, before there are clicks to learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from caig_rl.cli.common import ConfigFile, Overrides, explained, resolved_config, run_console, sources
from caig_rl.cli.text.training_text import train_and_tell
from caig_rl.config.schema import Config
from caig_rl.errors import CatalogError
from caig_rl.interfaces import ProductSource
from caig_rl.types import Rejected

if TYPE_CHECKING:
    from caig_rl.data.captions import CaptionedCreative
    from caig_rl.data.pretrain_rows import PretrainFiles, TextRules

    CaptionedFile = tuple[Sequence[CaptionedCreative], Sequence[Rejected], int]


def pretrain(config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Teach pretrain.backbone to see, name and place products, from the catalog and, where there are any, captioned ads.

    A Ray Train job; run again, it goes on. pretrain.out is then a policy's folder.
    """
    with explained():
        _pretrain(resolved_config(config, overrides))


def _pretrain(settings: Config) -> None:
    from actors.train_jobs.preflight import only_start, refuse_out
    from actors.train_jobs.pretrain_job import pretrain_job
    from caig_rl.data.clicks.training_files import training_files
    from caig_rl.models.folders import resolve_model_folder

    train, shown, out = settings.pretrain, run_console(settings), Path(settings.pretrain.out).absolute()
    backbone = resolve_model_folder(train.backbone, "policy", settings.policy.trust_remote_code).absolute()
    refuse_out(out, "pretrain.out", "config.json", backbone)
    source, ads = learned_from(settings, shown)
    digest = _digest(settings, backbone, source, ads)
    with only_start(out) as folder:
        files = training_files(
            folder / "files", digest, lambda place: _write_files(settings, _rules(settings, backbone), source, ads, place, shown)
        )
        if files.is_reused:
            shown.print(f"rows: {_rows(files.rows)} (in {files.folder}, as before)", highlight=False, soft_wrap=True)
        if min(files.rows.values()) < train.workers:
            raise CatalogError(
                f"each of {train.workers} rank(s) needs a row to train on and one to stop by: {_rows(files.rows)}; "
                "see pretrain.validation_share"
            )
        job = pretrain_job(settings, backbone, files)
        train_and_tell(job, settings.cluster, shown)


def _rows(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {split}" for split, count in rows.items())


def _rules(settings: Config, backbone: Path) -> TextRules:
    from transformers import AutoProcessor

    from caig_rl.data.pretrain_rows import TextRules

    tokenizer = AutoProcessor.from_pretrained(backbone, trust_remote_code=settings.policy.trust_remote_code).tokenizer
    return TextRules(
        tuple(tokenizer.all_special_tokens),
        settings.policy.max_tokens,
        lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]),
    )


def learned_from(settings: Config, shown: Console) -> tuple[ProductSource, CaptionedFile]:
    """The products and captioned ads to learn from: none that is held out, nor its ads. `shown` is told how many are.

    Raises:
        UserError: a file cannot be read, or there is nothing to learn from.
    """
    from caig_rl.data.captions import load_captioned
    from caig_rl.data.catalog_split import num_held_out, split_words
    from caig_rl.learning.pretrain.examples import asks_about_photos

    train, (source, held_out, _) = settings.pretrain, sources(settings)
    if not train.creatives and not asks_about_photos(train.shares):
        raise CatalogError("pretrain.creatives is empty, and pretrain.shares asks for prompts alone: they are learned from captioned ads")
    if settings.catalog.path and num_held_out(source, held_out):
        shown.print(split_words(source, held_out), highlight=False, soft_wrap=True)
    if not train.creatives:
        return source, ([], [], 0)
    trained = {product.product_id for product in source.products}
    of_catalog = {product.product_id for product in held_out.products} if settings.catalog.path else set()
    captioned, rejected, read = load_captioned(Path(train.creatives), train.columns, trained | of_catalog)
    return source, ([ad for ad in captioned if ad.product_id in trained], rejected, read)


def _digest(settings: Config, backbone: Path, source: ProductSource, ads: CaptionedFile) -> str:
    """Of all that the training files are made from."""
    from caig_rl.data.catalog import FileCatalog
    from caig_rl.data.clicks.training_files import source_digest
    from caig_rl.learning.pretrain.examples import asks_about_photos

    train = settings.pretrain
    sizes = (settings.imaging.size, settings.policy.image_size, settings.policy.max_tokens)
    rules = (settings.run.seed, train.validation_share, asks_about_photos(train.shares), str(backbone), settings.world)
    photos = list(source.images.values()) if isinstance(source, FileCatalog) else []
    return source_digest((tuple(source.products), ads, sizes, rules), [*photos, *(ad.image for ad in ads[0])])


def _write_files(
    settings: Config, rules: TextRules, source: ProductSource, ads: CaptionedFile, folder: Path, shown: Console
) -> dict[str, int]:
    from caig_rl.data.pretrain_rows import write_pretrain_rows
    from caig_rl.learning.pretrain.examples import asks_about_photos

    train, (captioned, rejected, read) = settings.pretrain, ads
    with Progress(console=shown, transient=True) as bar:
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
    _print_files(written, [*written.unusable, *rejected, *written.rejected], len(source.products), shown)
    return dict(written.rows)


def _print_files(written: PretrainFiles, rejected: Sequence[Rejected], products: int, shown: Console) -> None:
    shown.print(f"{products} products, {written.captioned} captioned ads; rows: {_rows(written.rows)}", highlight=False)
    for reason, count in Counter(row.reason for row in rejected).most_common():
        first = next(row.message for row in rejected if row.reason == reason)
        shown.print(f"[yellow]{reason}[/] {count}, for example {escape(first)}", highlight=False)
    if not written.captioned:
        shown.print("no captioned ads (pretrain.creatives): product names and titles are learned, backgrounds are not")
