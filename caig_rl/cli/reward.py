"""`caig-rl reward`: train a reward model on click logs, and say how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Column, Table

from caig_rl.cli.common import ConfigFile, Overrides, console, explained, resolved_config, run_console
from caig_rl.cli.text.training_text import train_and_tell
from caig_rl.config.reward import RewardTrainConfig
from caig_rl.config.schema import Config
from caig_rl.errors import ClickLogError, ConfigError, UserError

if TYPE_CHECKING:
    from caig_rl.data.clicks.dataset import ClickDataset
    from caig_rl.data.clicks.pictures import PictureFaults
    from caig_rl.evaluation.reward_evaluation import Accuracy, RewardEvaluation
    from caig_rl.evaluation.reward_judging import Judging
    from caig_rl.models.reward.interface import RewardModel

app = typer.Typer(help="Reward models: trained on click logs, measured on held-out products.", no_args_is_help=True)
Also = Annotated[list[Path] | None, typer.Option(help="Another reward model's folder, to compare with; may be given again.")]


@app.command("train")
def reward_train(config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Train a reward model of reward.train.form on what `data pairs` wrote to clicks.out, as a Ray Train job; run again, it goes on."""
    with explained():
        _train(resolved_config(config, overrides))


@app.command("eval")
def reward_eval(config: ConfigFile = None, overrides: Overrides = None, also: Also = None) -> None:
    """Measure the configured reward model on the held-out pairs that `data pairs` wrote to clicks.out: accuracy against the noise ceiling,
    calibration, position flips, and the most wrong pairs as pictures."""
    with explained():
        _evaluate(resolved_config(config, overrides), also or [])


def _train(settings: Config) -> None:
    from actors.train_jobs.preflight import only_start, refuse_out
    from actors.train_jobs.reward_job import reward_job
    from caig_rl.data.clicks.groups import groups_source
    from caig_rl.data.clicks.splits import TRAIN, VALIDATION
    from caig_rl.data.clicks.training_files import training_files
    from caig_rl.learning.reward.objective import log_facts
    from caig_rl.models.reward.backbone import SPEC_FILE

    train, shown = settings.reward.train, run_console(settings)
    out, backbone = Path(train.out).absolute(), _backbone(train)
    refuse_out(out, "reward.train.out", SPEC_FILE, backbone)
    data = _click_data(settings, TRAIN, settings.segments.names)
    source = groups_source(data, train.image_size)
    with only_start(out) as folder:
        files = training_files(folder / "files", source, lambda place: _write_groups(settings, data, place, shown))
        again = f" (in {files.folder}, as before)" if files.is_reused else ""
        what = "tests, of everybody and of each segment," if settings.segments.names else "tests"
        counted = f"{files.rows[TRAIN]} {what} to train on, {files.rows[VALIDATION]} to stop by{again}"
        shown.print(counted, highlight=False, soft_wrap=True)
        job = reward_job(settings, log_facts(data, settings.clicks.out), backbone, files)
        if min(files.rows.values()) < train.workers:
            raise ClickLogError(
                f"each of {train.workers} rank(s) needs a test to train on and one to stop by: {files.rows}; see clicks.validation_share"
            )
        train_and_tell(job, settings.cluster, shown)


def _backbone(train: RewardTrainConfig) -> Path:
    from caig_rl.models.folders import resolve_model_folder
    from caig_rl.models.reward.loading import check_start

    if train.start_from is None:
        return resolve_model_folder(train.backbone, "backbone").absolute()
    folder = resolve_model_folder(train.start_from, "reward").absolute()
    check_start(folder, train.form, train.image_size)
    return folder


def _write_groups(settings: Config, data: ClickDataset, folder: Path, shown: Console) -> dict[str, int]:
    from caig_rl.data.clicks.groups import write_groups
    from caig_rl.data.clicks.pictures import PictureFaults
    from caig_rl.data.clicks.splits import TRAIN, VALIDATION

    faults, size = PictureFaults(), settings.reward.train.image_size
    rows = {split: write_groups(data, split, size, folder, faults) for split in (TRAIN, VALIDATION)}
    _print_faults(faults, settings, shown)
    return rows


def _evaluate(settings: Config, also: list[Path]) -> None:
    from caig_rl.data.clicks.files import write_text
    from caig_rl.data.clicks.pictures import PictureFaults, readable_pairs
    from caig_rl.data.clicks.splits import HELDOUT
    from caig_rl.evaluation.reward_evaluation import evaluate_pairs
    from caig_rl.evaluation.reward_judging import shared_agreement
    from caig_rl.reports.reward_report import NUMBERS, PAGE, render_reward_report, reward_headline, reward_json

    logged, faults = _click_data(settings, HELDOUT), PictureFaults()
    data = readable_pairs(logged, faults)
    _print_faults(faults, settings, console)
    models = _models(settings, also)
    judgings = {name: _judged(name, model, data, settings.reward.batch_size) for name, model in models.items()}
    evaluations = {name: evaluate_pairs(judging.pairs, settings.run.seed) for name, judging in judgings.items()}
    first, *others = models
    agreements = {name: shared_agreement(judgings[first], judgings[name]) for name in others}
    page = render_reward_report(
        first, models[first].kind, data, judgings[first], evaluations[first], agreements, source=settings.clicks.out
    )
    console.print(reward_headline(evaluations[first]), markup=False, highlight=False)
    _print_table(evaluations)
    for name, judging in judgings.items():
        if judging.bill is not None:
            console.print(f"{name}: {judging.bill.text}", markup=False, highlight=False, soft_wrap=True)
    for file, text in ((PAGE, page), (NUMBERS, reward_json(judgings, evaluations, agreements))):
        console.print(f"wrote {write_text(settings.clicks.out, file, text)}", markup=False, highlight=False, soft_wrap=True)


def _print_faults(faults: PictureFaults, settings: Config, shown: Console) -> None:
    """Name what is left out; too much of it ends the command."""
    faults.check(settings.clicks.max_faulty_share)
    for line in faults.lines():
        shown.print(f"[yellow]left out[/] {escape(line)}", highlight=False)


def _models(settings: Config, also: list[Path]) -> dict[str, RewardModel]:
    from caig_rl.models.reward.loading import configured_reward, reward_of_folder

    models: dict[str, RewardModel] = {_name(settings): configured_reward(settings.reward)}
    for folder in also:
        models[str(folder)] = reward_of_folder(str(folder), settings.reward)
    return models


def _judged(name: str, model: RewardModel, data: ClickDataset, batch_size: int) -> Judging:
    from caig_rl.evaluation.reward_judging import judge_dataset
    from caig_rl.models.reward.interface import RewardError

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(escape(name), total=len(data.first))
        try:
            return judge_dataset(model, data, batch_size, lambda done, total: bar.update(task, completed=done))
        except RewardError as error:
            raise UserError(f"{name} answers no pair at all: {error}") from error


def _print_table(evaluations: Mapping[str, RewardEvaluation]) -> None:
    heads = ("reward model", "all pairs", "95 % interval", "ceiling", "significant pairs", "ECE", "position flips")
    table = Table(*(Column(head, overflow="fold") for head in heads), box=box.SIMPLE_HEAD, padding=0)
    for name, found in evaluations.items():
        every, sure = found.all_pairs, found.significant
        flips = "none possible" if found.flip_rate is None else f"{found.flip_rate:.1%}"
        cells = [f"{every.value:.1%}", f"{every.interval.low:.1%} to {every.interval.high:.1%}", f"{every.ceiling:.1%}", _share(sure)]
        table.add_row(escape(name), *cells, f"{found.ece:.1%}", flips)
    console.print(table)


def _share(accuracy: Accuracy | None) -> str:
    return "no such pair" if accuracy is None else f"{accuracy.value:.1%} of {accuracy.pairs}"


def _name(settings: Config) -> str:
    return settings.reward.judge.model if settings.reward.kind == "judge" else settings.reward.model


def _click_data(settings: Config, split: str, segments: Sequence[str] = ()) -> ClickDataset:
    """The pairs of `split`, and the clicks of `segments` apart. Pictures that the log held as bytes need no folder.

    Raises:
        ConfigError: their pictures would have to be read from a store, or from a folder that is not named.
    """
    from caig_rl.data.catalog import load_texts
    from caig_rl.data.clicks.dataset import load_click_dataset

    clicks = settings.clicks
    folder = _image_folder(settings) if clicks.images or clicks.path else None
    texts = load_texts(settings.catalog) if settings.catalog.path else {}
    try:
        data = load_click_dataset(clicks.out, folder or Path(), split, texts, segments)
    except ClickLogError as error:
        if folder is not None:
            raise
        raise ConfigError(f"clicks.path is empty, and {error}") from error
    if not data.names_files:
        return data
    if folder is None:
        raise ConfigError("clicks.images and clicks.path are empty: name the folder that the log's image paths are relative to")
    if not clicks.images and "://" in (clicks.path or ""):
        raise ConfigError(
            f"clicks.images is empty, and the pictures of {clicks.path} cannot be read from there: pictures are read from local "
            "folders; set clicks.images to a local copy"
        )
    return data


def _image_folder(settings: Config) -> Path:
    if settings.clicks.images:
        if "://" in settings.clicks.images:
            raise ConfigError(f"clicks.images={settings.clicks.images}: pictures are read from local folders; name a local copy")
        return Path(settings.clicks.images)
    assert settings.clicks.path is not None
    log = Path(settings.clicks.path)
    if "://" not in settings.clicks.path and not log.exists():
        raise ClickLogError(f"there is no click log at {log}; set clicks.path, or clicks.images to the folder of its pictures")
    return log if log.is_dir() else log.parent
