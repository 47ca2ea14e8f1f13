"""The picture of what befell a run: a line for each role, what happened on it, and how long a place stood empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.ticker import FuncFormatter, MultipleLocator

from caig_rl.reports.charts import BAD, GRID, INK, LINE, UNCLEAR, figure_of, finished
from caig_rl.wording import duration

_ORDER = ("Driver", "Learner", "Policy", "Renderer", "Scorer", "Shards")
_STEPS_S = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21600, 43200, 86400)
"""Between two times of the axis: at most eight fit beside each other."""
_LOOK = {
    "died": ("X", BAD, "died, or went with its node"),
    "hung": ("s", UNCLEAR, "hung"),
    "drained": ("v", UNCLEAR, "left a drained node"),
    "again": ("o", LINE, "shard issued again"),
    "poison": ("P", BAD, "product failed as poison"),
    "resumed": ("D", INK, "new driver"),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """One sign on a line."""

    role: str
    at_s: float
    """Seconds into the run, without those in which there was no driver."""
    what: Literal["died", "hung", "drained", "filled", "again", "poison", "resumed"]
    since_s: float | None = None
    """Of "filled": since when the place stood empty."""


def timeline(marks: Sequence[Mark], total_s: float) -> str:
    """The marks as an SVG element 980 units wide, on the lines of the driver, the learner, each pool, and the shards."""
    roles = [*_ORDER, *sorted({mark.role for mark in marks} - set(_ORDER))]
    with figure_of(9.8, 1.15 + 0.33 * len(roles)) as figure:
        axes = figure.add_subplot()
        heights = {role: -place for place, role in enumerate(roles)}
        axes.hlines(list(heights.values()), 0.0, max(total_s, 1.0), color=GRID, linewidth=1.2, zorder=1)
        filled = [mark for mark in marks if mark.since_s is not None]
        if filled:
            ys = [heights[mark.role] for mark in filled]
            begins, ends = [mark.since_s or 0.0 for mark in filled], [mark.at_s for mark in filled]
            axes.hlines(ys, begins, ends, color=UNCLEAR, alpha=0.35, linewidth=7, zorder=2, label="place empty")
        for what, (marker, colour, label) in _LOOK.items():
            found = [mark for mark in marks if mark.what == what]
            if found:
                axes.scatter(
                    [mark.at_s for mark in found],
                    [heights[mark.role] for mark in found],
                    marker=marker,
                    s=52,
                    color=colour,
                    linewidth=0,
                    label=label,
                    zorder=3,
                    clip_on=False,
                )
        for mark in marks:
            if mark.what == "resumed":
                axes.axvline(mark.at_s, color=INK, linewidth=0.8, linestyle=(0, (3, 4)), zorder=0)
        axes.set_yticks(list(heights.values()), list(heights))
        axes.set(xlim=(0.0, max(total_s, 1.0)), ylim=(-len(roles) + 0.4, 0.6))
        step = next((one for one in _STEPS_S if total_s <= 8 * one), _STEPS_S[-1] * max(1, round(total_s / _STEPS_S[-1] / 8)))
        axes.xaxis.set_major_locator(MultipleLocator(step))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
        figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=9.5, handletextpad=0.4, columnspacing=1.4)
        return finished(figure)


def _tick(seconds: float) -> str:
    return duration(seconds).removesuffix(" 0 s").removesuffix(" 0 min").removesuffix(" 0 h") if seconds else "0"
