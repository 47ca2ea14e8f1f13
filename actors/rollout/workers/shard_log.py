"""Each log line of a worker names the shard that it works on."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

from actors.rollout.shard import Shard
from caig_rl.logs import about

logger = logging.getLogger(__name__)


def logged(method: Callable[..., Any]) -> Callable[..., Any]:
    """Around a worker's method on a shard: each line inside names the shard's admissions, and one says how long it took."""

    @functools.wraps(method)
    def run(self: Any, shard: Shard, *arguments: Any) -> Any:
        started = time.perf_counter()
        with about(**shard.facts()):
            result = method(self, shard, *arguments)
            seconds = time.perf_counter() - started
            logger.info("%s: %d products in %.2f s", method.__name__, len(shard.products), seconds, extra={"seconds": round(seconds, 3)})
        return result

    return run
