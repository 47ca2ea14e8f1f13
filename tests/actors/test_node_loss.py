"""A spot node goes away in mid-round, with its workers and the objects they made, and another comes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.actors.node_loss import RESULT

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_run_that_loses_its_rollout_node_ends_with_the_same_weights(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.actors.node_loss", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=560)
    assert done.returncode == 0, done.stderr[-4000:]
    undisturbed, bereft = json.loads((tmp_path / RESULT).read_text())
    assert bereft["policy"]["sha256"] == undisturbed["policy"]["sha256"]
    assert (bereft["products"], bereft["ctr"]) == (undisturbed["products"], undisturbed["ctr"])
    assert bereft["fleet"]["replaced"]["policy"] >= 1
    assert undisturbed["fleet"]["replaced"] == {"policy": 0, "renderer": 0, "scorer": 0}
