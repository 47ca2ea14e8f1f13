"""What becomes of a shard: it passed all stages, or it failed as often as allowed. Plain records, so that their readers load no Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from actors.rollout.pool_member import WorkerLost
from actors.rollout.shard import Shard
from actors.rollout.worker_replies import PolicyReply, RenderReply, ScoreReply

POISON: Final = "poison"


class ShardPoisoned(RuntimeError):
    """A shard that failed, or lost its worker, as often as allowed."""

    def __init__(self, shard: Shard, stage: str, attempts: int, cause: BaseException) -> None:
        reason = str(cause).strip().splitlines()[-1] if str(cause).strip() else type(cause).__name__
        super().__init__(f"shard {shard.name} failed {attempts} times, last in stage {stage}: {reason}")
        self.stage, self.attempts, self.reason = stage, attempts, reason
        self.kind = POISON if isinstance(cause, WorkerLost) else f"{stage}_failed"
        """For the record of outcomes: `POISON` where it cost a worker each time."""


@dataclass(frozen=True, slots=True)
class RolledOut:
    """A shard that passed all stages."""

    shard: Shard
    policy: PolicyReply
    render: RenderReply
    score: ScoreReply
    views: Any
    """ObjectRef of (N, size, size, 3): the products as the policy saw them; the learner reads them again."""
    creatives: Any
    """ObjectRef of one (K, size, size, 3) block a product; freed when this record goes."""
    attempts: int
    worker: str = ""
    """Policy worker that wrote the prompts."""
    unscreened: PolicyReply | None = None
    """With the prompts that were not painted, too; None where all were."""

    def written(self) -> list[list[str]]:
        """Every prompt that the policy wrote, a list for each product of the shard, empty where it refused."""
        return (self.unscreened or self.policy).texts()
