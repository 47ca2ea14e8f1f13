"""A spot node goes away in mid-round, with its workers and the objects they made, and another comes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.actors.rollout.node_loss import RESULT

REPOSITORY = Path(__file__).parents[3]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def summaries(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Undisturbed, without its rollout node, without its learner's node."""
    folder = tmp_path_factory.mktemp("nodes")
    command = [sys.executable, "-m", "tests.actors.rollout.node_loss", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((folder / RESULT).read_text())


def test_a_run_that_loses_its_rollout_node_ends_with_the_same_weights(summaries: list[dict[str, Any]]) -> None:
    undisturbed, bereft, _ = summaries
    assert bereft["policy"]["sha256"] == undisturbed["policy"]["sha256"]
    assert (bereft["products"], bereft["ctr"]) == (undisturbed["products"], undisturbed["ctr"])
    assert bereft["fleet"]["replaced"]["policy"] >= 1
    assert undisturbed["fleet"]["replaced"] == {"policy": 0, "renderer": 0, "scorer": 0}


def test_a_run_that_loses_its_learners_node_before_its_weights_are_pulled_ends_with_the_same(
    summaries: list[dict[str, Any]],
) -> None:
    undisturbed, _, untaught = summaries
    assert untaught["fleet"]["learner_restarts"] >= 1
    assert untaught["policy"]["sha256"] == undisturbed["policy"]["sha256"]
    assert (untaught["products"], untaught["ctr"]) == (undisturbed["products"], undisturbed["ctr"])
