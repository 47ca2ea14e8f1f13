"""Speaks while the ranks of a training job wait for their places: what they wait for, and what the cluster has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
import ray.train
from ray._private.state import state as cluster_state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

from actors.telemetry.snapshot import PoolState
from actors.telemetry.wait_reporter import WaitReporter
from actors.train_jobs.polling import polling

LOOK_S = 1.0


@contextmanager
def placement_wait_notes(ranks: int, note_s: float, note: Callable[[str], None]) -> Iterator[None]:
    """Inside the block `note` is told every `note_s` seconds that the ranks have no places, at the start and after each loss."""
    reporter = WaitReporter(note_s, note)

    def look() -> None:
        reporter.look({"training": PoolState(desired=ranks, ready=ranks if ranks_have_places() else 0, busy=0, replaced=0)})

    with polling(look, min(LOOK_S, note_s), "wait-for-ranks"):
        yield


def ranks_have_places() -> bool:
    """True where a placement group of the connected job has its places. Ray's public table does not say whose a group is."""
    own = ray.get_runtime_context().get_job_id()
    groups = map(PlacementGroupTableData.FromString, cluster_state._connect_and_get_accessor().get_placement_group_table())
    return any(group.creator_job_id.hex() == own and group.state == PlacementGroupTableData.CREATED for group in groups)


def found_no_room(error: ray.train.TrainingFailedError) -> bool:
    """True where the job ended because its ranks got no places in time."""
    return isinstance(getattr(error, "controller_failure", None), WorkerGroupStartupTimeoutError)
