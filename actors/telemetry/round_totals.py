"""What the shards of one round came to, gathered as they arrive."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from caig_rl.runs.summary import (
    CreativeCounts,
)
from caig_rl.types import Judgement


@dataclass(slots=True)
class RoundTotals:
    """What the shards of one round came to, gathered as they arrive."""

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

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint in mid-round."""
        return {
            "scores": [score if math.isfinite(score) else None for score in self.scores],
            "prompts": list(self.prompts),
            "judgements": [[one.ctr, one.relevance] for one in self.judgements],
            "counts": [self.pairs, self.tied, self.failed, self.truncated],
            "creatives": self.creatives.model_dump(),
            "first_failure": self.first_failure,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> RoundTotals:
        """What `to_json` wrote."""
        scores = [math.nan if score is None else score for score in content["scores"]]
        judgements = [Judgement(*one) for one in content["judgements"]]
        pairs, tied, failed, truncated = content["counts"]
        creatives = CreativeCounts.model_validate(content["creatives"])
        return cls(scores, content["prompts"], judgements, pairs, tied, failed, truncated, creatives, content["first_failure"])
