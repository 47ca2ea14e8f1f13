"""A reward model that an ablation makes before the cells that need it: in a thread, so that the loop hears of a stop meanwhile."""

from __future__ import annotations

import asyncio

from actors.loop.stop_request import StopRequest
from actors.telemetry.progress import Progress
from caig_rl.ablation.rewards import MakeReward, RewardToMake, accuracy_of
from caig_rl.reports.run_report_text import percent

_BARS = {"creatives": "render", "reward": "epochs"}
"""Stage of the making -> bar of the progress display."""


async def make_once(wanted: RewardToMake, make: MakeReward, progress: Progress, stop: StopRequest) -> bool:
    """Make it, unless it is made. Returns False where a stop came first: also the one that would let a round end, since there is none.

    Raises:
        UserError: it cannot be made.
    """
    if wanted.is_made:
        return True
    loop, shown = asyncio.get_running_loop(), _Shown(wanted, progress)

    def tell(stage: str, step: int, total: int, loss: float) -> None:
        loop.call_soon_threadsafe(shown.advance, stage, step, total)

    if not await asyncio.to_thread(make, wanted, tell, lambda: stop.after_round):
        return False
    found = accuracy_of(wanted)
    if found is not None:
        progress.note(f"reward {wanted.recipe.name} is made: {percent(found[0])} of held-out pairs in order, ceiling {percent(found[1])}")
    return True


class _Shown:
    """What a person sees of the making: a phase for each stage."""

    def __init__(self, wanted: RewardToMake, progress: Progress) -> None:
        self._wanted, self._progress = wanted, progress
        self._stage, self._step = "", 0

    def advance(self, stage: str, step: int, total: int) -> None:
        if stage != self._stage:
            name = self._wanted.recipe.name
            about = f"drawing products for reward {name}" if stage == "creatives" else f"training reward {name}"
            self._progress.phase(about, total)
            self._stage, self._step = stage, 0
        self._progress.advanced(_BARS.get(stage, stage), step - self._step)
        self._step = step
