"""When a run's state is written: after a round, and in the midst of one that is told to stop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ray.exceptions import RayTaskError

from actors.book import RunBook
from actors.checkpoint import CheckpointStore, RunState
from actors.faults import one_line
from actors.teaching import Teacher
from caig_rl.evaluation.events import DRIVER, Tell, untold

logger = logging.getLogger(__name__)


class Saver:
    """Writes the checkpoints of one run."""

    def __init__(
        self,
        store: CheckpointStore,
        book: RunBook,
        teacher: Teacher,
        fingerprint: dict[str, Any],
        extra: Callable[[], dict[str, Any]],
        note: Callable[[str], None],
        tell: Tell = untold,
    ) -> None:
        """`extra`: what the run's record adds to the state, at this moment; `note` is told what could not be kept, `tell` too."""
        self._store, self._book, self._teacher = store, book, teacher
        self._fingerprint, self._extra, self._note, self._tell = fingerprint, extra, note, tell

    async def checkpoint(self) -> None:
        """A checkpoint that cannot be written costs the run nothing but a way back, unless it is the last: that one is the result."""
        rounds_done = self._book.rounds_done
        try:
            await self._store.save(self._state, self._fingerprint, self._teacher.save)
        except (OSError, RayTaskError) as error:
            if self._book.rounds_done == self._book.rounds_planned:
                raise
            logger.exception("no checkpoint after round %d", rounds_done)
            self._note(f"no checkpoint after round {rounds_done}: {one_line(error)}; the one before stays the newest")
            self._tell("no_checkpoint", DRIVER, detail=f"after round {rounds_done}: {one_line(error)}")

    async def round_under_way(self, *, is_measured: bool) -> None:
        """Told to stop now: keep what the round's workers have done so far, as far as the weights it belongs to are at hand.

        `is_measured`: the initial policy is measured, so that there is something to go on from.
        """
        step = self._book.rounds_done
        if not is_measured:
            known = any(self._store.is_complete(one) for one in self._store.steps())
            self._note("stopped while it started" if known else "stopped before the first checkpoint; --resume begins anew")
        elif self._store.is_complete(step):
            try:
                self._store.update(self._state(), self._fingerprint)
            except OSError as error:  # a full disk: the state before it stays, and the run can be gone on with all the same
                self._note(f"what round {step + 1} did so far is lost: {one_line(error)}; it begins anew from its checkpoint")
        elif self._teacher.has_moved:
            self._note(f"the learner is amid round {step + 1}: its last checkpoint stays the newest (learner.checkpoint_every)")
        else:
            await self.checkpoint()

    def _state(self) -> RunState:
        return self._book.state(self._extra())
