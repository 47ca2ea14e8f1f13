"""The report's tables and figures, worked out from the run's files and ready for the template."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caig_rl.reports.charts import format_value, line_chart
from caig_rl.reports.run_report_text import duration, percent
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.gallery import GalleryEntry, GallerySide, picture_data_uri
from caig_rl.runs.ledger import REJECTED
from caig_rl.runs.summary import CreativeCounts, PolicySummary, RunSummary, TimeSummary
from caig_rl.types import Outcome

_EXAMPLES_PER_CODE = 3
_SCALING_STEPS = 12
"""Changes of pool sizes shown; a long run has hundreds."""

_CURVES = (
    ("reward_score", "Reward score", "What the reward model thinks of the creatives. Should rise.", False),
    (
        "guard_score",
        "Guard's score",
        "What a second reward model thinks of them, which nothing is learned from. Should rise with the reward's.",
        False,
    ),
    ("relevance", "Relevance", "Per cent. How well backgrounds suit their products. Should not fall.", True),
    ("kl", "KL to the initial policy", "Nats. How far the policy has moved from where it began.", False),
    ("distinct_prompts", "Distinct prompts", "Per cent. A collapse means the policy repeats itself.", True),
    ("malformed_share", "Malformed prompts", "Per cent of all prompts written. Should not rise.", True),
    ("trap_share", "Prompts in the trap", "Per cent. Showy backgrounds that suit no product. Should not rise.", True),
    ("loss", "Loss", "What the learner minimises. Should fall.", False),
    ("pairs", "Pairs learned from", "Ties, failures and expiries are missing from it.", False),
)

_STAGES = (
    ("policy", "Writing prompts"),
    ("render", "Painting pictures"),
    ("score", "Scoring pictures"),
    ("learn", "Learning"),
    ("sync", "Handing over weights"),
    ("idle", "Waiting"),
)

_OUTCOMES = (
    ("trained", "Trained", "The policy learned from this pair."),
    ("tied", "Tied", "The two creatives were too close to call, so there was nothing to learn."),
    ("expired", "Expired", "The prompts were too old by the time they could be used."),
)


@dataclass(frozen=True, slots=True)
class Curve:
    """One quantity over the rounds."""

    title: str
    note: str
    svg: str
    spoken: str
    """For those who cannot see it."""


@dataclass(frozen=True, slots=True)
class StageShare:
    """One segment of the bar of time."""

    key: str
    label: str
    seconds: str
    share: float
    """Of the seconds of all stages, 0-1."""


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """One row of the table of outcomes."""

    label: str
    count: int
    meaning: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """One creative with its data URI."""

    side: GallerySide
    data_uri: str


@dataclass(frozen=True, slots=True)
class GalleryCard:
    """One product before and after, pictures included."""

    entry: GalleryEntry
    before: Picture
    after: Picture


def curves(rows: Sequence[Mapping[str, object]]) -> list[Curve]:
    """The curves that the rows of metrics hold, rounds counted from 1. A round's last row counts: a resumed run writes it again."""
    by_round: dict[int, dict[str, object]] = defaultdict(dict)
    for row in rows:
        number = row["round"]
        assert isinstance(number, int), f"append_metrics lets no such round in: {number!r}"
        by_round[number].update(row)
    found = []
    for key, title, note, as_percent in _CURVES:
        points = [(number + 1, value) for number, row in sorted(by_round.items()) if isinstance(value := row.get(key), (int, float))]
        if points:
            rounds, values = [point[0] for point in points], [float(point[1]) for point in points]
            first, last = (format_value(value, as_percent=as_percent) for value in (values[0], values[-1]))
            spoken = f"{title}: {first} in round {rounds[0]}, {last} in round {rounds[-1]}"
            found.append(Curve(title, note, line_chart(rounds, values, as_percent=as_percent), spoken))
    return found


def stage_shares(time: TimeSummary) -> list[StageShare]:
    """Where the time went, as shares of the seconds of all stages; empty where no second was counted."""
    seconds = time.stages.model_dump()
    total = sum(seconds.values())
    if total == 0.0:
        return []
    return [StageShare(key, label, duration(seconds[key]), seconds[key] / total) for key, label in _STAGES]


def outcome_rows(summary: RunSummary, ledger_rows: Sequence[Mapping[str, object]]) -> list[OutcomeRow]:
    """Every outcome with its count, failures by kind and rejected rows by reason, with examples from the ledger."""
    products = summary.products
    counts = {"trained": products.trained, "tied": products.tied, "expired": products.expired}
    rows = [OutcomeRow(label, counts[key], meaning) for key, label, meaning in _OUTCOMES]
    for kind, count in products.failed.items():
        examples = _examples(ledger_rows, Outcome.FAILED, kind)
        rows.append(OutcomeRow(f"Failed: {_words(kind)}", count, "Left out of learning; the run went on.", examples))
    if not products.failed:
        rows.append(OutcomeRow("Failed", 0, "Left out of learning; the run goes on."))
    for reason, count in products.rejected.items():
        examples = _examples(ledger_rows, REJECTED, reason)
        rows.append(OutcomeRow(f"Rejected: {_words(reason)}", count, "A catalog row that never became a product.", examples))
    if products.in_flight:
        rows.append(OutcomeRow("In flight", products.in_flight, "No outcome yet."))
    return rows


def gallery_cards(folder: RunFolder, entries: Sequence[GalleryEntry]) -> list[GalleryCard]:
    """The gallery with its pictures. Raises UserError where a picture of the index is missing."""
    cards = []
    for entry in entries:
        before, after = (Picture(side, picture_data_uri(folder, side.image)) for side in (entry.before, entry.after))
        cards.append(GalleryCard(entry, before, after))
    return cards


def gallery_note(entries: Sequence[GalleryEntry]) -> str:
    """How many of the products shown gained, so that a gallery cannot flatter."""
    judged = [(entry.before.ctr, entry.after.ctr) for entry in entries if entry.before.ctr is not None and entry.after.ctr is not None]
    if not judged:
        return ""
    rose = sum(after > before for before, after in judged)
    return f"True CTR rose on {rose} of the {len(judged)} products shown."


def facts(summary: RunSummary) -> list[tuple[str, str]]:
    """The run in figures, for the reader who wants to check."""
    rate = summary.throughput
    policy = summary.policy
    return [
        ("Run", summary.run),
        ("Products from", summary.catalog),
        ("Objective", summary.objective),
        ("Seed", str(summary.seed)),
        ("Rounds", str(summary.rounds)),
        ("Policy version", summary.policy_version),
        *_result_facts(summary),
        ("Wall time", duration(summary.time.total_s)),
        ("Preference pairs", f"{rate.pairs_per_s:.2f} a second"),
        ("Pictures", f"{rate.images_per_s:.2f} a second"),
        ("Prompt tokens", f"{rate.tokens_per_s:.0f} a second"),
        *_gate_facts(summary.creatives),
        *_negative_facts(summary.negatives),
        ("Weight hand-overs verified", f"{summary.sync.verified} of {summary.sync.count}"),
        ("Peak memory", f"{summary.peak_memory_gib:.1f} GiB"),
        ("KL to the initial policy", _kl(policy)),
        ("Distinct prompts of the final policy", "not measured" if policy.distinct_prompts is None else percent(policy.distinct_prompts)),
        *_fleet_facts(summary),
    ]


def _kl(policy: PolicySummary) -> str:
    if policy.kl is None:
        return "not measured"
    if policy.kl_ci95 is None:
        return f"{policy.kl:.3f} nats an answer"
    low, high = policy.kl_ci95
    return f"{policy.kl:.3f} nats an answer (95\u00a0% interval {low:.3f} to {high:.3f} over products)"


def _result_facts(summary: RunSummary) -> list[tuple[str, str]]:
    result, guard = summary.result, summary.guard
    facts = [] if result is None else [("The result", f"version {result.version}, {result.why}"), ("Its policy", result.policy)]
    if guard is not None:
        best, newest = (
            f"{score:+.3f} (version {version})".replace("-", "\u2212")
            for score, version in ((guard.best_score, guard.best_version), (guard.newest_score, guard.newest_version))
        )
        facts.append(("Guard's score at best and in the newest round", f"{best}, {newest}"))
    return facts


def _gate_facts(creatives: CreativeCounts) -> list[tuple[str, str]]:
    if not creatives.painted:
        return [("Creatives painted", "not counted")]
    refused = ", ".join(f"{count} refused ({_words(reason)})" for reason, count in creatives.refused.items())
    return [
        ("Creatives painted", f"{creatives.painted}, {refused or 'none refused'}"),
        ("Product pixels changed by at most", f"{creatives.product_difference} grey levels"),
    ]


def _negative_facts(negatives: Mapping[str, int]) -> list[tuple[str, str]]:
    drawn = ", ".join(f"{count} {kind}" for kind, count in sorted(negatives.items()))
    return [("Product-centric negatives", drawn)] if drawn else []


def _fleet_facts(summary: RunSummary) -> list[tuple[str, str]]:
    fleet = summary.fleet
    if fleet is None:
        return []
    lost = ", ".join(f"{count} {name}" for name, count in fleet.replaced.items() if count)
    facts = [("Workers replaced", lost or "none")]
    if fleet.learner_restarts:
        facts.append(("Learner re-formed", f"{fleet.learner_restarts} times, {len(fleet.replayed)} rounds trained again"))
    shown = fleet.scaling[-_SCALING_STEPS:]
    if len(shown) < len(fleet.scaling):
        facts.append(("Pool sizes changed", f"{len(fleet.scaling)} times; the last {len(shown)} follow"))
    for step in shown:
        change = f"{step.before} to {step.after} workers: {step.reason}"
        facts.append((f"{step.pool.capitalize()} pool at {duration(step.at_s)}", change))
    return facts


def _words(code: str) -> str:
    return code.replace("_", " ")


def _examples(rows: Sequence[Mapping[str, object]], outcome: str, code: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for row in rows:
        if row["outcome"] == outcome and row["kind"] == code and row["message"]:
            # A rejected row's message names its file and row itself. People count rounds from 1, files from 0.
            place = "" if outcome == REJECTED else f"{row['product_id']}, round {int(str(row['round'])) + 1}: "
            found[f"{place}{row['message']}"] = None
    return tuple(found)[:_EXAMPLES_PER_CODE]
