"""Curves for the report, as inline SVG that takes its colours from the page, so that one picture serves light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

# Colours that matplotlib can draw and that nothing else in the file uses; the page's own are put in their place.
INK, LINE, GRID, BAD, UNCLEAR = "#010101", "#020202", "#030303", "#040404", "#050505"
_PAGE_COLOURS = {INK: "currentColor", LINE: "var(--accent)", GRID: "var(--rule)", BAD: "var(--bad)", UNCLEAR: "var(--unclear)"}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "caig-rl",
    "font.size": 11.0,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


def line_chart(rounds: Sequence[int], values: Sequence[float], *, as_percent: bool = False) -> str:
    """One quantity per round as an SVG element, 420 x 210 units wide, the last value written beside its point.

    Raises ValueError where there is nothing to draw or the lengths differ.
    """
    if not rounds or len(rounds) != len(values):
        raise ValueError(f"a curve needs as many values as rounds, at least one, not {len(values)} and {len(rounds)}")
    with figure_of(4.2, 2.1) as figure:
        axes = figure.add_subplot()
        axes.plot(rounds, values, color=LINE, linewidth=2.2, marker="o", markersize=5, clip_on=False)
        axes.annotate(
            format_value(values[-1], as_percent=as_percent),
            (rounds[-1], values[-1]),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontweight="bold",
        )
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.margins(x=0.04, y=0.12)
        if min(values) >= 0.0 and max(values) - min(values) < 0.05 * max(values):
            axes.set_ylim(0.0, 1.12 * max(values))  # a change this small must not look like a collapse
        axes.set_xlabel("round")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        if as_percent:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
        return finished(figure)


def calibration_chart(points: Sequence[tuple[float, float, float, float]]) -> str:
    """How sure against how often right, as an SVG element of 420 x 300 units; the dashed line is where both are the same.

    `points` are (confidence, accuracy, low, high), low to high the accuracy's interval. Raises ValueError where there is none.
    """
    if not points:
        raise ValueError("a calibration curve needs at least one point")
    confidence, accuracy, low, high = zip(*points, strict=True)
    with figure_of(4.2, 3.0) as figure:
        axes = figure.add_subplot()
        bottom = min(0.5, *low)
        axes.plot([0.5, 1.0], [0.5, 1.0], color=INK, linewidth=1.0, linestyle=(0, (4, 4)))
        axes.vlines(confidence, low, high, color=LINE, linewidth=1.2)
        axes.plot(confidence, accuracy, color=LINE, linewidth=2.0, marker="o", markersize=5)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set(xlim=(0.49, 1.01), ylim=(bottom - 0.02, 1.02), xlabel="how sure it is, %", ylabel="how often it is right, %")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
        return finished(figure)


def format_value(value: float, *, as_percent: bool = False) -> str:
    """A number with three figures, or a share as per cent."""
    text = f"{100 * value:.1f}\u00a0%" if as_percent else f"{value:.3g}"
    return text.replace("-", "\u2212")


@contextmanager
def figure_of(width: float, height: float) -> Iterator[Figure]:
    """An empty figure in the page's style, in hundreds of units; inside, what is drawn takes that style."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure


def finished(figure: Figure) -> str:
    """The figure as an SVG element for the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_page(buffer.getvalue())


def _for_page(document: str) -> str:
    # matplotlib numbers its groups alike in every figure, and an id may stand only once in a page.
    svg = re.sub(r'<g id="[^"]*"', "<g", document[document.index("<svg") :])
    for drawn, page in _PAGE_COLOURS.items():
        svg = svg.replace(drawn, page)
    return svg
