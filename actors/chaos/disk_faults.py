"""The disk is full when the next checkpoint is sealed."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from actors.chaos.fault import InjectedFault, NoTarget

if TYPE_CHECKING:
    from actors.loop.online_loop import OnlineLoop


def fill_disk(loop: OnlineLoop, draw: int) -> InjectedFault:
    """The disk is full when the next checkpoint but the last, which is the run's result, is to be sealed."""
    store, last, met = loop.store, loop.run_state.rounds_planned, list[int]()
    if store.before_seal is not None:
        raise NoTarget("the disk is to be full at the next checkpoint already")
    if loop.run_state.rounds_done >= last:
        raise NoTarget("the last checkpoint is the run's result")

    def full(step: int) -> None:
        if step < last:
            store.before_seal = None
            met.append(step)
            raise OSError(errno.ENOSPC, "No space left on device (chaos)")

    def outcome() -> str:
        written = [step for step in complete_steps(loop) if met and step > met[0]]
        return f"checkpoint {met[0]} not written, {written[0]} was" if written else ""

    store.before_seal = full
    return InjectedFault("the disk will be full at the next checkpoint", outcome)


def complete_steps(loop: OnlineLoop) -> list[int]:
    """Steps of the complete checkpoints, rising."""
    return [step for step in loop.store.steps() if loop.store.is_complete(step)]
