"""The log of a replica: JSON lines in the service's folder, a file a process."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import ray
from ray import serve
from ray._private.worker import global_worker

from actors.serve.messages import PaintJob, PromptJob, ScoreJob
from caig_rl.config.schema import Config
from caig_rl.serving.log import begin_service_log

logger = logging.getLogger(__name__)


def begin_replica_log(config: Config, role: str) -> None:
    """At the start of a replica of `role`. Outside a Ray worker (a unit test) it does nothing."""
    if global_worker.mode == ray.WORKER_MODE:
        begin_service_log(Path(config.serve.root), role, config.logs.level, replica=serve.get_replica_context().replica_tag)


@contextmanager
def batch_done(what: str, jobs: Sequence[PromptJob | PaintJob | ScoreJob], num: int) -> Iterator[None]:
    """Around the work on a batch: says how long it took and for which requests. A batch that fails says nothing here, but raises."""
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    facts = {"requests": [job.request_id for job in jobs if job.request_id], "seconds": round(seconds, 4)}
    logger.info("%s %d for %d requests in %.3f s", what, num, len(jobs), seconds, extra=facts)
