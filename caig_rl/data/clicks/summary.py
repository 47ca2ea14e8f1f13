"""What became of a click log, step by step: for the console, `clicks.json` and the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

SUMMARY = "clicks.json"


@dataclass(frozen=True, slots=True)
class Step:
    """One count on the way from rows to pairs."""

    name: str
    """A promise to scripts: "rows_read"."""
    count: int
    meaning: str


@dataclass(frozen=True, slots=True)
class Faults:
    """Rows, or files, refused for one reason."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SplitCheck:
    """The sample-ratio check over all tests."""

    design: str
    """What the split was checked against: "propensity", "share", "equal" or "unchecked"."""
    level: float
    verdicts: dict[str, int]
    """Tests by `SplitVerdict`."""
    worst: tuple[tuple[str, float], ...]
    """The tests set aside that deviate most, with their p-values."""
    spanning: int = 0
    """Tests that span several products, each checked product by product, and counted so."""


@dataclass(frozen=True, slots=True)
class PolicyCount:
    """What one pair policy keeps."""

    train: int
    validation: int
    heldout: int
    ceiling: float | None
    """Mean posterior probability that the observed order is the true one; None without a pair."""


@dataclass(slots=True)
class ClickSummary:
    """Everything the report says."""

    path: str
    steps: list[Step] = field(default_factory=list)
    faults: dict[str, Faults] = field(default_factory=dict)
    """By reason, the most frequent first; "file_unreadable" counts files."""
    unused: tuple[str, ...] = ()
    """Columns that the log holds and nothing uses: day, position, segment."""
    split_check: SplitCheck | None = None
    prior_impressions: float | None = None
    """k, the weight of a product's own CTR in a creative's posterior."""
    policies: dict[str, PolicyCount] = field(default_factory=dict)
    policy: str = ""
    """The one the configuration names."""

    def add(self, name: str, count: int, meaning: str) -> None:
        """Note one more step."""
        self.steps.append(Step(name, count, meaning))

    def count(self, name: str) -> int:
        """The count of a step. Raises KeyError where the job did not come so far."""
        return {step.name: step.count for step in self.steps}[name]

    def counts_text(self) -> str:
        """All steps in one paragraph, for a message."""
        return "; ".join(f"{step.meaning} {step.count:,}" for step in self.steps)

    def to_json(self) -> dict[str, object]:
        """As `clicks.json` holds it."""
        return asdict(self)
