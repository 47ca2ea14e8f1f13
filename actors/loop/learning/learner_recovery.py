"""Re-forms the learner group when it is lost, at the weights of the rounds done.

    a rank dies, or stands still, or weights go away with their node before all policy workers have pulled them
        -> the group is re-formed -> the newest complete checkpoint -> the rounds trained since, from the journal
        -> those weights are published, as a new incarnation

The optimiser's step count comes with the checkpoint, so each pair enters the lineage of the surviving weights once, at its own step.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.checkpoints.store import CheckpointStore
from actors.learner.group import LearnerGroup
from actors.learner.rank_health import LearnerLost
from actors.loop.learning.round_training import RoundTraining
from actors.loop.state.run_state import RunState
from actors.telemetry.progress import Progress
from actors.weights.published import PublishedWeights
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.runs.events import LEARNER, RecordEvent
from caig_rl.runs.summary import Replay
from caig_rl.types import PolicyVersion

logger = logging.getLogger(__name__)


class LearnerError(UserError):
    """The learner was lost more often than `recovery.learner_restarts` allows."""


@dataclass(slots=True)
class Recoveries:
    """What became of the learner group, over all resumes of the run."""

    count: int = 0
    """Times that it was re-formed."""
    replayed: list[Replay] = field(default_factory=list)
    """Rounds that were trained again from the journal."""

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"learner_restarts": self.count, "replayed": [one.model_dump(mode="json") for one in self.replayed]}

    def restore(self, content: dict[str, Any]) -> None:
        """Go on counting from what `to_json` gave; other keys of `content` are left alone."""
        self.count, self.replayed = content["learner_restarts"], [Replay.model_validate(one) for one in content["replayed"]]


class LearnerRecovery:
    """Brings the group back, as often as `recovery.learner_restarts` allows since the last round that was learned."""

    def __init__(
        self,
        config: Config,
        run_state: RunState,
        group: LearnerGroup,
        store: CheckpointStore,
        training: RoundTraining,
        progress: Progress,
        record_event: RecordEvent,
    ) -> None:
        self._config, self._run_state, self._group, self._store, self._training = config, run_state, group, store, training
        self._progress, self._record_event = progress, record_event
        self._losses = 0
        self.recoveries = Recoveries()

    def round_learned(self) -> None:
        """A round was learned and is live: the losses before it count no more."""
        self._losses = 0

    def count_loss(self, error: LearnerLost) -> None:
        """The group is lost. Raises LearnerError where it was lost too often."""
        if self._losses >= self._config.recovery.learner_restarts:
            raise LearnerError(f"{error} (it was re-formed {self._losses} times since the last round)") from error
        self._losses += 1
        self._record_event("lost", LEARNER, error.reason, str(error))
        self._progress.note(f"{error}; the group is re-formed")

    async def re_form(self, total_steps: int, live: PublishedWeights | None) -> PublishedWeights:
        """A new group at the weights of the rounds done; what was rolled out by weights that are no more will expire.

        Args:
            total_steps: optimiser steps of the whole run.
            live: the weights that policy workers hold now.

        Raises:
            CheckpointError: the journal lacks pairs that are to be trained again.
            LearnerLost: it was lost again.
        """
        run_state = self._run_state
        # Pictures may have been lost with the rank's node: they are loaded again.
        run_state.intake.keep_views_of(())
        self._group.close()
        await self._group.re_form(total_steps)
        if self._group.world_size != self._config.learner.world_size:
            self._progress.note(f"the learner goes on with {self._group.world_size} of {self._config.learner.world_size} ranks")
        incarnation = run_state.next_incarnation()
        # Without a checkpoint the model's own folder is where the run began.
        step = self._store.newest_step(self._progress.note, at_most=run_state.ledger.first_not_learned())
        if step is not None:
            await self._group.load(self._store.url(step))
        await self._replay(step or 0, incarnation)
        published = await self._group.publish(PolicyVersion(incarnation, run_state.rounds_done))
        # Trained again to the same bits, the versions since the checkpoint live on under their new names.
        is_same = live is not None and published.sha256 == live.sha256
        run_state.roll_back(incarnation, run_state.rounds_done if is_same else step or 0)
        self.recoveries.count += 1
        return published

    def record_re_formed(self, lost_at: float, again: Sequence[Replay] = ()) -> None:
        """The group works again. `lost_at`: `time.monotonic()` at its loss; `again`: the rounds that were trained again."""
        numbers = {"world_size": self._group.world_size, "rounds": len(again), "pairs": sum(one.pairs for one in again)}
        self._record_event("regrouped", LEARNER, seconds=time.monotonic() - lost_at, numbers=numbers)

    async def _replay(self, rounds_kept: int, incarnation: int) -> None:
        """Mark what was trained after `rounds_kept` rounds, and train it again, round by round."""
        ledger = self._run_state.ledger
        for number in ledger.roll_back(rounds_kept):
            pairs = self._training.journalled(number, ledger.to_replay(number))
            logger.warning("round %d: %d pairs are trained again from the journal", number + 1, len(pairs))
            await self._training.train(pairs)
            ledger.replay([pair.admission.admission_id for pair in pairs], PolicyVersion(incarnation, number + 1))
            self.recoveries.replayed.append(Replay(incarnation=incarnation, round=number, pairs=len(pairs)))
