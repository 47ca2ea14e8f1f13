"""`curve.svg` and `curve.png`: what each arm earns against the creatives painted for it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from caig_rl.ablation.records import CellRow
from caig_rl.ablation.summaries import ArmSummary, Estimate, over_seeds

CURVE_FILES: dict[str, Literal["svg", "png"]] = {"curve.svg": "svg", "curve.png": "png"}
_STYLE = {"svg.hashsalt": "caig-rl", "font.size": 10.0, "axes.spines.top": False, "axes.spines.right": False}
_DPI = 130


@dataclass(frozen=True, slots=True)
class ArmCurve:
    """Mean over seeds of the change of the training creatives' true CTR since the first round, at the same number of painted creatives."""

    painted: tuple[float, ...]
    """Mean over seeds: runs of one arm may differ by a failed product."""
    change: tuple[Estimate, ...]


def arm_curve(rows: Sequence[CellRow]) -> ArmCurve | None:
    """The rounds that all of an arm's seeds have; None where nothing was trained."""
    num = min((len(row.curve) for row in rows), default=0)
    if not num or any(row.curve[0].ctr <= 0.0 for row in rows):
        return None
    painted, change = [], []
    for index in range(num):
        estimate = over_seeds([row.curve[index].ctr / row.curve[0].ctr - 1.0 for row in rows])
        assert estimate is not None
        painted.append(float(np.mean([row.curve[index].painted for row in rows])))
        change.append(estimate)
    return ArmCurve(tuple(painted), tuple(change))


def draw_curve(arms: Sequence[ArmSummary], form: Literal["svg", "png"]) -> bytes:
    """Training arms as lines that end in their held-out lift (a dot with its interval); arms without training as dashed levels."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.0, 5.0), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        colours = mpl.color_sequences["tab20"]
        for number, arm in enumerate(arms):
            colour, curve = colours[2 * number % 20 + number // 10 % 2], arm_curve(arm.rows)
            if curve is None:
                axes.axhline(arm.lift.mean, color=colour, linewidth=1.4, linestyle=(0, (5, 3)), label=arm.name)
                continue
            end = arm.painted.mean
            means = [one.mean for one in curve.change]
            axes.plot([*curve.painted, end], [*means, arm.lift.mean], color=colour, linewidth=2.0, marker=".", label=arm.name)
            spans = [one.interval or (one.mean, one.mean) for one in curve.change]
            axes.fill_between(curve.painted, [low for low, _ in spans], [high for _, high in spans], color=colour, alpha=0.13, linewidth=0)
            if arm.lift.interval is not None:
                axes.vlines(end, *arm.lift.interval, color=colour, linewidth=1.4)
            axes.plot([end], [arm.lift.mean], color=colour, marker="o", markersize=6)
        axes.axhline(0.0, color="#888888", linewidth=0.8)
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set(xlabel="creatives painted to train", ylabel="true CTR against the untrained policy, %")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:+.0f}" if value else "0"))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        figure.legend(loc="outside right upper", frameon=False)
        buffer = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        figure.savefig(buffer, format=form, dpi=_DPI, facecolor="white", metadata=metadata)
        return buffer.getvalue()
