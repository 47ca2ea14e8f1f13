"""What a run survived, in numbers, from its events: a part of the summary."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from caig_rl.runs.events import Event
from caig_rl.runs.summary import SurvivedSummary


def survived(events: Sequence[Event]) -> SurvivedSummary:
    """How often what happened to the run."""
    lost: dict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        if event.kind == "lost":
            lost[event.role][event.reason] += 1
    regrouped, resumed = events_of(events, "regrouped"), events_of(events, "resumed")
    return SurvivedSummary(
        resumes=len(resumed),
        lost={role: dict(counts) for role, counts in sorted(lost.items())},
        replaced=dict(sorted(Counter(event.role for event in events_of(events, "replaced")).items())),
        regrouped=len(regrouped),
        rounds_again=sum(event.numbers.get("rounds", 0) for event in (*regrouped, *resumed)),
        pairs_again=sum(event.numbers.get("pairs", 0) for event in regrouped),
        shards_issued_again=dict(sorted(Counter(event.role for event in events_of(events, "issued_again")).items())),
        poison=len(events_of(events, "poison")),
    )


def events_of(events: Sequence[Event], kind: str) -> list[Event]:
    """Those of one kind, in order."""
    return [event for event in events if event.kind == kind]
