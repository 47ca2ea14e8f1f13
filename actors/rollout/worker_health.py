"""The health of one worker, judged by progress and not by whether it answers. A plain state machine with an injected clock.

    STARTING --came_up--> STALE --became_current--> IDLE --took_work--> BUSY
                            ^                        |  ^                |
                            +------went_stale--------+  +---gave_back----+--> STALE, where it holds older weights

A STALE worker is being made current and serves nobody before it is. STALE and BUSY workers hold work: one that does not move on within
its pool's patience is stuck. `leave` may come at any time: a leaving worker takes no new work and goes when it holds none.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from actors.cluster.stall_deadline import Patience


class WorkerState(Enum):
    """What a worker can be asked for."""

    STARTING = auto()
    STALE = auto()
    IDLE = auto()
    BUSY = auto()


class WorkerHealth:
    """Where one worker is, since when, and whether it should still be waited for."""

    def __init__(self, clock: Callable[[], float], patience: Patience) -> None:
        """`patience` is shared by all workers of a pool."""
        self._clock, self._patience = clock, patience
        self.state, self.generation, self.is_leaving = WorkerState.STARTING, -1, False
        self._since = clock()

    @property
    def takes_work(self) -> bool:
        """True where a call may be given to it."""
        return self.state is WorkerState.IDLE and not self.is_leaving

    @property
    def holds_work(self) -> bool:
        """True where going now would lose something."""
        return self.state is WorkerState.BUSY

    def came_up(self) -> None:
        """The process serves; it is to be made current."""
        self._go(WorkerState.STALE, WorkerState.STARTING)

    def progressed(self) -> None:
        """It moved on within its state."""
        self._since = self._clock()

    def became_current(self, generation: int) -> None:
        """It holds what the pool's `generation` asks for."""
        self.generation = generation
        self._go(WorkerState.IDLE, WorkerState.STALE)

    def went_stale(self) -> None:
        """It must be made current before it serves again."""
        self._go(WorkerState.STALE, WorkerState.IDLE)

    def took_work(self) -> None:
        """A call was given to it."""
        assert not self.is_leaving, "work for a worker that is leaving"
        self._go(WorkerState.BUSY, WorkerState.IDLE)

    def gave_back(self, generation: int) -> None:
        """The call has ended. The pool is at `generation`."""
        self._patience.observe(self._clock() - self._since)
        self._go(WorkerState.IDLE if self.generation == generation else WorkerState.STALE, WorkerState.BUSY)

    def leave(self) -> None:
        """It is not wanted any more, once it holds no work."""
        self.is_leaving = True

    def stuck_for_s(self) -> float:
        """Seconds for which it has held work without progress, where that is longer than the pool's patience; else 0."""
        held = self._clock() - self._since
        is_waited_for = self.state in (WorkerState.STALE, WorkerState.BUSY)
        return held if is_waited_for and held > self._patience.deadline_s else 0.0

    def _go(self, to: WorkerState, *allowed: WorkerState) -> None:
        assert self.state in allowed, f"a worker cannot go from {self.state.name} to {to.name}"
        self.state, self._since = to, self._clock()
