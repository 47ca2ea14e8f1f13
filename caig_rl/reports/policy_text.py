"""What the report and the command line say of a measured policy beside its clicks: its prompts, categories that it never saw, segments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from caig_rl.reports.run_report_text import percent, signed_percent
from caig_rl.runs.summary import CategoriesSummary, CtrSummary, MeasuredGroup, PromptsSummary, SegmentSummary
from caig_rl.wording import counted


def prompt_rows(prompts: PromptsSummary | None) -> list[tuple[str, str, str]]:
    """Name, and the figures of the initial and the final policy; empty where prompts were not checked."""
    if prompts is None:
        return []
    rows: list[tuple[str, str, Callable[[float], str]]] = [
        ("Malformed prompts", "malformed", percent),
        ("Prompts in the trap", "trap", percent),
        ("Distinct prompts", "distinct", percent),
        ("Commonest background", "commonest_background", percent),
        ("Variety of phrases", "attribute_entropy", "{:.2f} bits".format),
    ]
    found = [(name, getattr(prompts.initial, key), getattr(prompts.final, key), written) for name, key, written in rows]
    return [
        (name, written(initial), written(final)) for name, initial, final, written in found if initial is not None and final is not None
    ]


def categories_line(categories: CategoriesSummary | None) -> str:
    """Lift and relevance of categories that training never saw, and of the others; empty where there are none."""
    if categories is None:
        return ""
    groups = (("never saw", categories.unseen), ("saw", categories.seen))
    return " ".join(_group_sentence(kind, group) for kind, group in groups if group is not None)


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One segment of shoppers, in words."""

    name: str
    share: str
    initial: str
    final: str
    lift: str
    """With its interval, where there is one."""


def segment_rows(segments: Sequence[SegmentSummary]) -> list[SegmentRow]:
    """True CTR among each segment's shoppers; empty where they are not told apart."""
    return [
        SegmentRow(one.segment, percent(one.share, 0), percent(one.ctr.initial, 2), percent(one.ctr.final, 2), _lift(one.ctr))
        for one in segments
    ]


def _lift(ctr: CtrSummary) -> str:
    span = ctr.interval
    certainty = "" if span is None else f" (95\u00a0% interval {percent(span.low)} to {percent(span.high)})"
    return f"{signed_percent(ctr.lift)}{certainty}"


def _group_sentence(kind: str, group: MeasuredGroup) -> str:
    parts = []
    if group.ctr is not None:
        parts.append(f"true CTR {_lift(group.ctr)}")
    if group.relevance is not None:
        parts.append(f"relevance {percent(group.relevance.initial)} before, {percent(group.relevance.final)} after")
    what = f"Categories that training {kind} ({counted(group.products, 'product')})"
    return f"{what}: {', '.join(parts) or 'not judged'}."
