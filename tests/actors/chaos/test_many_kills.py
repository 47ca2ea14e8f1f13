"""Two hundred faults in one run: it ends, nothing is lost, nothing is left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.actors.chaos.many_kills import PRODUCTS, RESULT, ROUNDS

REPOSITORY = Path(__file__).parents[3]
KILLS = 200


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_struck_two_hundred_times_ends_with_each_pair_learned_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.actors.chaos.many_kills", str(tmp_path), str(KILLS)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1400)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    found = json.loads((tmp_path / RESULT).read_text())
    products, fleet = found["summary"]["products"], found["summary"]["fleet"]
    assert found["summary"]["status"] == "done" and sum(found["struck"].values()) == KILLS
    assert products["admitted"] == ROUNDS * PRODUCTS and products["in_flight"] == 0
    assert products["admitted"] == products["trained"] + products["tied"] + products["expired"] + sum(products["failed"].values())
    assert found["learned"] == found["trained"], "the weights' own list of what they learned from"
    assert found["versions_are_current"] and found["policy_workers"] > 2, "late joiners write with what is live"
    assert fleet["learner_restarts"] > 0 and found["rolled_back"] > 0
    assert found["after"] == found["before"], "actors, bytes in the object stores"
