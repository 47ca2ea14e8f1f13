"""Orders that make a worker misbehave. They run inside the worker, so this module imports nothing that a worker lacks."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import psutil
import ray
from ray.exceptions import ObjectLostError


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


def lose_an_object(worker: Any) -> None:
    """The next object that the worker asks for is gone, as with its node. Ray has no call that loses one; killed nodes lose real ones."""
    get = ray.get

    def lost(refs: Any, **options: Any) -> Any:
        ray.get = get
        first = refs[0] if isinstance(refs, list) else refs
        raise ObjectLostError(first.hex(), None, "")

    ray.get = lost


def kill_node(worker: Any) -> None:
    """Kill the raylet that started this worker: the node's workers and objects go with it.

    Raises:
        RuntimeError: the worker's parent is no raylet.
    """
    parent = psutil.Process(os.getppid())
    if parent.name() != "raylet":
        raise RuntimeError(f"this worker was started by {parent.name()!r}, not by a raylet: its node is not killed")
    parent.send_signal(signal.SIGKILL)
