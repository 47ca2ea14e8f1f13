"""`caig-rl data`: catalogs and click logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from caig_rl.cli.common import ConfigFile, Overrides, console, explained, resolved_config, sources
from caig_rl.config.schema import Config
from caig_rl.data.rows import FILE_KINDS
from caig_rl.errors import ConfigError

if TYPE_CHECKING:
    from caig_rl.data.clicks.summary import ClickSummary

app = typer.Typer(help="Catalogs and click logs.", no_args_is_help=True)


@app.command("inspect")
def data_inspect(
    config: ConfigFile = None,
    overrides: Overrides = None,
    every: Annotated[bool, typer.Option("--all", help="Name every rejected row and every cut-out, not the first few.")] = False,
) -> None:
    """Read a catalog and say what is in it: products, categories, cut-outs and how sure they are, rejected rows with their reasons.

    A catalog file or a folder of images may stand where CONFIG does.
    With clicks.path, read the click log and say what `data pairs` would find in it; the catalog too where catalog.path names one.
    """
    with explained():
        if config is not None and "=" not in config and (Path(config).suffix.lower() in FILE_KINDS or Path(config).is_dir()):
            config, overrides = None, [f"catalog.path={config}", *(overrides or [])]
        settings = resolved_config(config, overrides)
        if settings.clicks.path:
            _inspect_clicks(settings)
        if settings.catalog.path or not settings.clicks.path:
            _inspect_products(settings, every)


@app.command("pairs")
def data_pairs(config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Turn a click log into creatives.parquet and pairs.parquet: checked, shrunk, labelled, split by product; with a report.

    With segments.names, what each creative earned among these segments of shoppers is in segments.parquet.
    """
    from caig_rl.data.clicks.files import write_text
    from caig_rl.data.clicks.picture_file import IMAGES
    from caig_rl.data.clicks.pipeline import CREATIVES, PAIRS, make_pair_files
    from caig_rl.data.clicks.segments import SEGMENTS
    from caig_rl.data.clicks.summary import SUMMARY
    from caig_rl.reports.click_log_report import PAGE, render_click_report

    with explained():
        settings = resolved_config(config, overrides)
        if not settings.clicks.path:
            raise ConfigError("clicks.path is empty: name the click log, clicks.path=log.parquet")
        with _counting() as progress:
            summary = make_pair_files(settings.clicks, settings.run.seed, progress, settings.segments.names)
        write_text(settings.clicks.out, PAGE, render_click_report(summary))
        _print_clicks(summary)
        images = [IMAGES] if any(step.name == "pictures" for step in summary.steps) else []
        apart = [SEGMENTS] if settings.segments.names else []
        for name in (CREATIVES, *images, *apart, PAIRS, SUMMARY, PAGE):
            console.print(f"wrote {settings.clicks.out}/{name}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _counting() -> Iterator[Callable[[int], None]]:
    with Progress(
        SpinnerColumn(), TextColumn("{task.completed:,.0f} rows read"), TimeElapsedColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task("rows", total=None)
        yield lambda rows: bar.update(task, completed=rows)


def _inspect_clicks(settings: Config) -> None:
    from caig_rl.data.clicks.pipeline import inspect_log

    with _counting() as progress:
        summary, _ = inspect_log(settings.clicks, settings.run.seed, progress, settings.segments.names)
    _print_clicks(summary)


def _print_clicks(summary: ClickSummary) -> None:
    from caig_rl.reports.click_log_report import DESIGNS, POLICIES, VERDICTS, click_headline, spanning_sentence, unused_sentence

    console.print(click_headline(summary), markup=False, highlight=False)
    table = Table("step", "count")
    for step in summary.steps:
        table.add_row(escape(step.meaning), f"{step.count:,}")
    console.print(table)
    for reason, faults in summary.faults.items():
        console.print(
            f"[yellow]{reason}[/] {faults.count:,}", *(f"  {escape(example)}" for example in faults.examples), sep="\n", highlight=False
        )
    if summary.unused:
        console.print(unused_sentence(summary))
    if summary.split_check is not None:
        console.print(f"split of traffic, checked against {DESIGNS[summary.split_check.design]}:")
        for verdict, count in summary.split_check.verdicts.items():
            console.print(f"  {count:,} {VERDICTS[verdict]}", highlight=False)
        if summary.split_check.spanning:
            console.print(f"  {spanning_sentence(summary.split_check)}", highlight=False)
        for test, p_value in summary.split_check.worst[:3]:
            console.print(f"    for example {escape(test)}, p = {p_value:.1e}", highlight=False)
    if summary.policies:
        kept = Table("pairs by policy", "train", "validation", "held out", "order is true in")
        for name, pairs in summary.policies.items():
            sure = "" if pairs.ceiling is None else f"{pairs.ceiling:.1%}"
            kept.add_row(POLICIES[name], f"{pairs.train:,}", f"{pairs.validation:,}", f"{pairs.heldout:,}", sure)
        console.print(kept)


def _inspect_products(settings: Config, every: bool) -> None:
    from caig_rl.cli.text.inspect_text import print_catalog
    from caig_rl.data.catalog import load_catalog
    from caig_rl.data.catalog_split import num_held_out, split_catalog, split_words
    from caig_rl.data.inspect import inspect_catalog

    if settings.catalog.path:
        catalog = load_catalog(settings.catalog, settings.imaging.size, log=False)
        split = split_catalog(catalog, settings.catalog.heldout_share)
        print_catalog(inspect_catalog(catalog, catalog.notes, split[1].products if num_held_out(*split) else ()), every)
        console.print(split_words(*split), highlight=False, soft_wrap=True)
    else:
        print_catalog(inspect_catalog(sources(settings)[0]), every)
