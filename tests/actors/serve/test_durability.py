"""The service as an operator runs it: killed at random, started again, stopped by SIGTERM. No acknowledged event is lost."""

from pathlib import Path

import pytest

from benchmarks.serve_durability import measure
from benchmarks.service_process import ServiceProcess

pytestmark = pytest.mark.slow


@pytest.mark.timeout(900)
def test_no_acknowledged_event_is_lost_when_replicas_and_the_whole_service_are_killed(tmp_path: Path):
    service = ServiceProcess(tmp_path, ["serve.replicas.min_ingress=2", "serve.replicas.max_ingress=2"])
    result = measure(tmp_path, service, 3000, 10, 2, 1, seed=0, note=lambda text: None)
    assert result.good, result
    assert (result.replica_kills, result.service_kills) == (2, 1)
    assert result.stopped_with == 0, "SIGTERM ends it in good order"
