"""When a run's state is written: after a round, and in the midst of one that is told to stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any

from ray.exceptions import RayTaskError

from actors.checkpoints.store import CheckpointStore, SavedState
from actors.cluster.task_errors import one_line
from actors.loop.learning.learner_control import LearnerControl
from actors.loop.state.run_state import RunState
from caig_rl.runs.events import DRIVER, RecordEvent, no_event

logger = logging.getLogger(__name__)


class CheckpointWriter:
    """Writes the checkpoints of one run."""

    def __init__(
        self,
        store: CheckpointStore,
        run_state: RunState,
        learner_control: LearnerControl,
        fingerprint: dict[str, Any],
        extra: Callable[[], dict[str, Any]],
        note: Callable[[str], None],
        record_event: RecordEvent = no_event,
        kept: Callable[[], Collection[int]] = tuple,
    ) -> None:
        """`extra`: what the run's totals add to the state, at this moment; `note` is told what could not be kept, `record_event` too;
        `kept` gives the checkpoints that stay beside the newest."""
        self._store, self._run_state, self._learner_control = store, run_state, learner_control
        self._fingerprint, self._extra, self._note, self._record_event, self._kept = fingerprint, extra, note, record_event, kept

    async def checkpoint(self) -> None:
        """A checkpoint that cannot be written costs the run nothing but a way back, unless it is the last: that one is the result."""
        rounds_done = self._run_state.rounds_done
        try:
            await self._store.save(self._state, self._fingerprint, self._learner_control.save, self._kept)
        except (OSError, RayTaskError) as error:
            if self._run_state.rounds_done == self._run_state.rounds_planned:
                raise
            logger.exception("no checkpoint after round %d", rounds_done)
            self._note(f"no checkpoint after round {rounds_done}: {one_line(error)}; the one before stays the newest")
            self._record_event("no_checkpoint", DRIVER, detail=f"after round {rounds_done}: {one_line(error)}")

    async def round_under_way(self, *, is_measured: bool) -> None:
        """Told to stop now: keep what the round's workers have done so far, as far as the weights it belongs to are at hand.

        `is_measured`: the initial policy is measured, so that there is something to go on from.
        """
        step = self._run_state.rounds_done
        if not is_measured:
            known = any(self._store.is_complete(one) for one in self._store.steps())
            self._note("stopped while it started" if known else "stopped before the first checkpoint; --resume begins anew")
        elif self._store.is_complete(step):
            try:
                self._store.update(self._state(), self._fingerprint)
            except OSError as error:  # a full disk: the state before it stays, and the run can be gone on with all the same
                self._note(f"what round {step + 1} did so far is lost: {one_line(error)}; it begins anew from its checkpoint")
        elif self._learner_control.has_moved:
            self._note(f"the learner is amid round {step + 1}: its last checkpoint stays the newest (learner.checkpoint_every)")
        else:
            await self.checkpoint()

    def _state(self) -> SavedState:
        return self._run_state.state(self._extra())
