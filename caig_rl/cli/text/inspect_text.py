"""What `caig-rl data inspect` prints of a catalog."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from caig_rl.cli.common import console
from caig_rl.data.inspect import CatalogSummary, ReasonSummary
from caig_rl.wording import counted

_EXAMPLES = 3
_LEAST_SURE = 10


def print_catalog(summary: CatalogSummary, every: bool) -> None:
    """The whole summary. Without `every`, only the first rows of each reason and the least sure cut-outs are named."""
    rejected = sum(reason.count for reason in summary.rejected.values())
    noted = "".join(f", {reason.count} {name}" for name, reason in summary.notes.items())
    console.print(f"{counted(summary.num_products, 'product')}, {counted(rejected, 'row')} rejected{noted}", highlight=False)
    table = Table("category", "products", *(["held out"] if summary.held_out else []))
    for name, count in summary.categories.items():
        table.add_row(escape(name), str(count), *([str(summary.held_out.get(name, 0))] if summary.held_out else []))
    console.print(table)
    for line in (*_cutouts(summary, every), *_reasons({**summary.notes, **summary.rejected}, every)):
        console.print(line, highlight=False, soft_wrap=True)


def _cutouts(summary: CatalogSummary, every: bool) -> Iterator[str]:
    yield "cut-outs: " + ", ".join(f"{count} by {method}" for method, count in summary.methods.items())
    if not summary.made:
        return
    yield "confidence of made cut-outs: " + ", ".join(f"{q:.0%} {value:.2f}" for q, value in summary.confidence.items())
    shown = summary.made if every else summary.made[:_LEAST_SURE]
    yield "the least sure first:"
    for one in shown:
        yield f"  {one.confidence:.2f}  {escape(one.product_id)}  ({escape(one.source)})"
    yield from _more(len(summary.made) - len(shown))


def _reasons(reasons: dict[str, ReasonSummary], every: bool) -> Iterator[str]:
    for name, reason in reasons.items():
        shown = reason.messages if every else reason.messages[:_EXAMPLES]
        yield f"[yellow]{name}[/] {reason.count}"
        for message in shown:
            yield f"  {escape(message)}"
        yield from _more(reason.count - len(shown))


def _more(left: int) -> Iterator[str]:
    if left:
        yield f"  and {left} more: --all names every one"
