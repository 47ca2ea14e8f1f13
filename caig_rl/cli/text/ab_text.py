"""An A/B result in words and as a table."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from caig_rl.evaluation.ab_test import MIN_CLICKS, MIN_VISITORS, RATIO_ALPHA, AbResult, Compared, Verdict
from caig_rl.serving.choice.experiment import Experiment

_MEANINGS: dict[Verdict, str] = {
    "broken": "more or fewer visitors reached an arm than its share: find out why before reading the rest",
    "too early": f"each arm needs {MIN_VISITORS} visitors and {MIN_CLICKS} clicks first",
    "undecided": "the interval holds 0: go on, or stop and keep what is live",
    "candidate better": "promote it: caig-rl serve promote",
    "live better": "drop it: caig-rl serve rollback",
}


def ab_lines(experiment: Experiment, result: AbResult) -> list[str]:
    """Sample ratio first, then the verdict."""
    live, candidate = result.overall.live, result.overall.candidate
    broken = result.ratio_p_value < RATIO_ALPHA
    lines = [
        f"{experiment.name} against the live version: {candidate.visitors:,} and {live.visitors:,} visitors",
        f"sample ratio: {'BROKEN' if broken else 'as assigned'} (p = {result.ratio_p_value:.3g})",
        f"verdict: {result.verdict} ({_MEANINGS[result.verdict]})",
    ]
    if experiment.left_out:
        lines.append(f"{experiment.left_out:,} impressions of visitors who had changed arms are left out")
    return lines


def ab_table(result: AbResult) -> Table:
    """Overall and by category."""
    table = Table("", "live", "candidate", "difference", "interval, valid at any time", "p")
    for name, one in {"overall": result.overall, **result.by_category}.items():
        table.add_row(escape(name), *_cells(one))
    return table


def _cells(one: Compared) -> list[str]:
    arms = [f"{arm.ctr:.3%} of {arm.impressions:,}" if arm.impressions else "-" for arm in (one.live, one.candidate)]
    if one.interval is None:
        return [*arms, "-", "too early", "-"]
    return [*arms, f"{one.difference:+.3%}", f"{one.interval.low:+.3%} to {one.interval.high:+.3%}", f"{one.p_value:.3g}"]
