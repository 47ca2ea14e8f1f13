"""Totals of one round over its shards: scores, prompts, outcomes, and what was found of its creatives and prompts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

from caig_rl.runs.summary import CreativeCounts
from caig_rl.types import Judgement, PromptCheck


@dataclass(frozen=True, slots=True)
class PromptCounts:
    """What was found of the prompts that were checked."""

    checked: int = 0
    malformed: int = 0
    known: int = 0
    """Of these it is known whether they are traps."""
    traps: int = 0

    def plus(self, checks: Sequence[PromptCheck]) -> PromptCounts:
        """With some more."""
        known = [check.trap for check in checks if check.trap is not None]
        malformed = sum(check.malformed for check in checks)
        return PromptCounts(self.checked + len(checks), self.malformed + malformed, self.known + len(known), self.traps + sum(known))

    @property
    def malformed_share(self) -> float | None:
        """None where none was checked."""
        return self.malformed / self.checked if self.checked else None

    @property
    def trap_share(self) -> float | None:
        """None where nobody knows what a trap is."""
        return self.traps / self.known if self.known else None


@dataclass(slots=True)
class RoundTotals:
    """One round's totals, which grow with each shard that arrives. A checkpoint in mid-round keeps them under the key "notes"."""

    scores: list[float]
    prompts: list[str]
    judgements: list[Judgement]
    pairs: int = 0
    tied: int = 0
    failed: int = 0
    truncated: int = 0
    """Prompts whose end the renderer did not read."""
    creatives: CreativeCounts = field(default_factory=CreativeCounts)
    first_failure: str = ""
    checks: PromptCounts = field(default_factory=PromptCounts)
    negatives: Counter[str] = field(default_factory=Counter)
    """Product-centric negatives of the round's groups, by kind."""

    def count_checks(self, checks: Sequence[PromptCheck]) -> None:
        """Of one shard's prompts, painted or not."""
        self.checks = self.checks.plus(checks)

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint in mid-round."""
        return {
            "scores": [score if math.isfinite(score) else None for score in self.scores],
            "prompts": list(self.prompts),
            "judgements": [[one.ctr, one.relevance] for one in self.judgements],
            "counts": [self.pairs, self.tied, self.failed, self.truncated],
            "creatives": self.creatives.model_dump(),
            "first_failure": self.first_failure,
            "checks": list(astuple(self.checks)),
            "negatives": dict(self.negatives),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> RoundTotals:
        """What `to_json` wrote, now or before prompts were checked and negatives counted."""
        scores = [math.nan if score is None else score for score in content["scores"]]
        judgements = [Judgement(*one) for one in content["judgements"]]
        pairs, tied, failed, truncated = content["counts"]
        creatives = CreativeCounts.model_validate(content["creatives"])
        checks = PromptCounts(*content.get("checks", ()))
        counted = (pairs, tied, failed, truncated, creatives, content["first_failure"], checks, Counter(content.get("negatives", {})))
        return cls(scores, content["prompts"], judgements, *counted)
