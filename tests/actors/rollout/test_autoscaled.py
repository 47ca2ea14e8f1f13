"""Waiting workers bring nodes, and idle pools let them go: Ray's autoscaler with its fake node provider."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.actors.rollout.autoscaled import MOST, TRACE

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.slow
def test_a_pool_grows_to_its_most_under_load_with_its_nodes_and_shrinks_where_the_learner_is_slow(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.actors.rollout.autoscaled", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=560)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    found = json.loads((tmp_path / TRACE).read_text())
    trace, fleet = found["trace"], found["summary"]["fleet"]
    assert found["summary"]["status"] == "done"
    sizes, nodes = [row["renderers"] for row in trace], [row["nodes"] for row in trace]
    assert sizes[0] == 1 and max(sizes) == MOST and sizes[-1] < MOST
    peak = nodes.index(max(nodes))
    assert max(nodes) == 1 + MOST and min(nodes[peak:]) < 1 + MOST, "nodes appear, and go"
    steps = [step["reason"] for step in fleet["scaling"] if step["pool"] == "renderer"]
    report = Path(found["report"]).read_text()
    assert steps and "Renderer pool at" in report, "the trace is in the report"
