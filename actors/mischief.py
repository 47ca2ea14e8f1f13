"""Orders that make a worker misbehave, for `actors.chaos`. They run inside the worker, so this module imports nothing that it lacks."""

from __future__ import annotations

import time
from typing import Any


def never_finish(worker: Any) -> None:
    """Hold whatever comes next for a day."""
    time.sleep(24 * 3600)


def give_no_number(worker: Any) -> None:
    """The reward model's next batch begins with NaN; where scores are random, there is no model to break."""
    scorer = worker._scorer
    if scorer is None:
        return

    def spoil(module: Any, inputs: Any, scores: Any) -> Any:
        hook.remove()
        spoilt = scores.clone()
        spoilt[0] = float("nan")
        return spoilt

    hook = scorer.register_forward_hook(spoil)
