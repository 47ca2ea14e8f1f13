"""What a run survived, from its events: the report's section with its table and timeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from caig_rl.reports.fault_timeline import Mark, timeline
from caig_rl.reports.run_report_text import duration
from caig_rl.runs.events import DRIVER, LEARNER, Event
from caig_rl.runs.summary import RunSummary, SurvivedSummary
from caig_rl.runs.survived_counts import events_of, survived

_REASONS = ("died", "hung", "node", "drained")
_SHOWN = 60
"""Events that the page lists; the file has all."""
_ENDINGS = {
    "died": "died without a word",
    "stopped": "stopped as it was asked to",
    "failed": "failed",
    "done": "was done",
}
_WORDS = {
    "began": "began",
    "resumed": "resumed",
    "ended": "ended",
    "lost": "lost",
    "replaced": "replaced",
    "regrouped": "re-formed",
    "issued_again": "shard issued again",
    "poison": "product failed as poison",
    "no_checkpoint": "checkpoint not written",
}


@dataclass(frozen=True, slots=True)
class RoleRow:
    """Losses of one role."""

    role: str
    lost: tuple[int, ...]
    """By reason: died, hung, gone with its node, drained."""
    filled: int
    """Places filled again."""
    wait: str
    """Time until they were, in words."""


@dataclass(frozen=True, slots=True)
class SurvivedSection:
    """What the template shows."""

    quiet: str
    """One line, where nothing happened or nothing was recorded; then the rest is empty."""
    lead: str = ""
    svg: str = ""
    roles: tuple[RoleRow, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    """What has no place in the table: resumes, learner groups, shards, poison."""
    listing: tuple[tuple[str, str, str], ...] = ()
    """When, what, and in whose words."""
    unlisted: int = 0


def survived_section(summary: RunSummary, events: Sequence[Event]) -> SurvivedSection:
    """The section of a run's report."""
    if not events:
        return SurvivedSection("This run kept no record of what befell it; runs of this version do, in events.jsonl.")
    if all(event.kind in ("began", "ended") for event in events):
        so_far, to_where = ("", "from beginning to end") if summary.status == "done" else (" so far", "from the beginning")
        return SurvivedSection(f"Nothing happened{so_far}: no worker was lost, no shard was issued twice, and one driver ran {to_where}.")
    at = _running_time(events)
    told = [(time, event) for time, event in zip(at, events, strict=True) if event.kind not in ("began", "replaced")]
    listing = [(duration(time), f"{_title(event.role)} {_what(event)}", _details(event)) for time, event in told]
    return SurvivedSection(
        quiet="",
        lead=_lead(summary, survived(events)),
        svg=timeline(_marks(events, at), at[-1]),
        roles=tuple(_role_rows(events)),
        notes=tuple(_notes(events, at)),
        listing=tuple(listing[:_SHOWN]),
        unlisted=max(0, len(listing) - _SHOWN),
    )


def _lead(summary: RunSummary, counts: SurvivedSummary) -> str:
    workers = sum(sum(one.values()) for role, one in counts.lost.items() if role != LEARNER)
    learner = sum(counts.lost.get(LEARNER, {}).values())
    again = sum(counts.shards_issued_again.values())
    parts = [
        _times(workers, "worker was lost", "workers were lost"),
        _times(learner, "learner group was lost", "learner groups were lost"),
        _times(counts.resumes, "driver was followed by a new one", "drivers were followed by new ones"),
        _times(again, "shard was issued again", "shards were issued again"),
        _times(counts.poison, "product failed as poison", "products failed as poison"),
    ]
    happened = ", ".join(part for part in parts if part) or "A checkpoint could not be written"
    end = " All the same, every admission ended in exactly one way, as the table above says." if summary.status == "done" else ""
    return f"{happened}.{end}"


def _times(count: int, one: str, many: str) -> str:
    return "" if not count else f"{count} {one if count == 1 else many}"


def _role_rows(events: Sequence[Event]) -> list[RoleRow]:
    rows = []
    for role in dict.fromkeys(event.role for event in events if event.kind == "lost"):
        reasons = Counter(event.reason for event in events if event.kind == "lost" and event.role == role)
        filled = [event for event in events if event.kind in ("replaced", "regrouped") and event.role == role]
        waits = [event.seconds for event in filled if event.seconds is not None]
        wait = f"{duration(median(waits))}, at most {duration(max(waits))}" if len(waits) > 1 else "".join(map(duration, waits)) or "never"
        rows.append(RoleRow(_title(role), tuple(reasons[one] for one in _REASONS), len(filled), wait))
    return rows


def _notes(events: Sequence[Event], at: Sequence[float]) -> list[tuple[str, str]]:
    notes = []
    for time, event in zip(at, events, strict=True):
        if event.kind == "resumed":
            when = datetime.fromtimestamp(event.at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
            notes.append((f"Driver resumed at {duration(time)} ({when})", _details(event)))
        elif event.kind == "regrouped":
            notes.append((f"Learner re-formed at {duration(time)}", _details(event)))
        elif event.kind == "poison":
            notes.append((f"Poison product at {duration(time)}", _details(event)))
    again = Counter(event.role for event in events if event.kind == "issued_again")
    if again:
        notes.append(("Shards issued again", ", ".join(f"{count} in stage {stage}" for stage, count in again.most_common())))
    failed = len(events_of(events, "no_checkpoint"))
    if failed:
        notes.append(("Checkpoints that could not be written", str(failed)))
    return notes


def _details(event: Event) -> str:
    numbers = event.numbers
    if event.kind == "resumed":
        start = f"from checkpoint {numbers['checkpoint']}" if "checkpoint" in numbers else "anew: it had no checkpoint yet"
        away = "" if event.seconds is None else f", {duration(event.seconds)} after its last word"
        again = _times(numbers.get("rounds", 0), "round is done again", "rounds are done again")
        return f"{start}{away}; the driver before it {_ENDINGS[event.reason]}{'; ' + again if again else ''}"
    if event.kind == "regrouped":
        group = _times(numbers["world_size"], "rank", "ranks")
        again = _times(numbers["rounds"], "round was", "rounds were")
        back = f"{again} rolled back and trained again ({numbers['pairs']} pairs)" if again else "no finished round had to be trained again"
        return f"{group}, {back}, ready after {duration(event.seconds or 0.0)}"
    return event.detail


def _what(event: Event) -> str:
    if event.kind == "ended":
        return {"done": "done", "stopped": "stopped on request"}.get(event.reason, event.reason)
    reason = {"node": "gone with its node", "drained": "left a node that is being drained"}.get(event.reason, event.reason)
    return f"{_WORDS[event.kind]}{f' ({reason})' if event.kind == 'lost' else ''}"


def _running_time(events: Sequence[Event]) -> list[float]:
    """For each event the seconds for which the run had run by then: the time without a driver is left out."""
    away, found = 0.0, list[float]()
    for event in events:
        away += (event.seconds or 0.0) if event.kind == "resumed" else 0.0
        found.append(max(found[-1] if found else 0.0, event.at_s - events[0].at_s - away))
    return found


def _marks(events: Sequence[Event], at: Sequence[float]) -> list[Mark]:
    marks = []
    for time, event in zip(at, events, strict=True):
        role = _title(event.role)
        if event.kind == "lost":
            marks.append(Mark(role, time, "hung" if event.reason == "hung" else "drained" if event.reason == "drained" else "died"))
        elif event.kind in ("replaced", "regrouped"):
            marks.append(Mark(role, time, "filled", since_s=max(0.0, time - (event.seconds or 0.0))))
        elif event.kind == "issued_again":
            marks.append(Mark("Shards", time, "again"))
        elif event.kind == "poison":
            marks.append(Mark("Shards", time, "poison"))
        elif event.kind == "resumed":
            marks.append(Mark(_title(DRIVER), time, "resumed"))
    return marks


def _title(role: str) -> str:
    return role.capitalize()
