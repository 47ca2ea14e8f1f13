"""What workers say to the controller: small records that travel beside a payload in the object store."""

from __future__ import annotations

from dataclasses import dataclass, field

from caig_rl.types import PolicyVersion, RenderReport, RolloutGroup


@dataclass(frozen=True, slots=True)
class PolicyReply:
    """A shard's prompts. The payload is `list[list[str]]`, empty for a product that was refused."""

    groups: tuple[RolloutGroup | None, ...]
    """One a product; None where refused."""
    refused: dict[int, str]
    """Index of a product the policy cannot be asked about, and why."""
    version: PolicyVersion
    tokens: int
    """Sampled tokens."""

    def texts(self) -> list[list[str]]:
        """The prompts, as in the payload."""
        return [[] if group is None else [rollout.text for rollout in group.rollouts] for group in self.groups]


@dataclass(frozen=True, slots=True)
class RenderReply:
    """A shard's creatives. The payload is one (K, size, size, 3) block a product."""

    reports: tuple[tuple[RenderReport, ...], ...]
    images: int
    truncated: int
    """Prompts whose end the text encoder did not read."""


@dataclass(frozen=True, slots=True)
class ScoreReply:
    """A shard's scores."""

    scores: tuple[tuple[float, ...], ...]
    """`[i][k]`, log-odds; NaN where the creative was not to be scored."""
    failed: dict[int, str] = field(default_factory=dict)
    """Index of a product for which no reward could be computed, and why."""
    guard: tuple[tuple[float, ...], ...] = ()
    """`[i][k]`, by the guard, log-odds; NaN where `scores` is, or where the guard gave no number. Empty without a guard."""

    def guard_of(self, index: int) -> tuple[float, ...]:
        """The guard's scores of one product's creatives; empty without a guard."""
        return self.guard[index] if self.guard else ()
