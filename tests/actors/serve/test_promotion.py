"""Which checkpoint of a run `promote` takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.serve.promotion import _step
from caig_rl.errors import CheckpointError
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import RunSummary, write_summary
from tests.actors.checkpoints.test_store import make_store
from tests.finished_run import RESULT_OF_GUARD, make_summary_values


def test_the_runs_result_is_promoted_unless_another_checkpoint_is_named(tmp_path: Path) -> None:
    make_store(str(tmp_path), (4, 5, 6))
    folder = RunFolder(str(tmp_path), "run")
    assert _step(folder, "") == 6
    write_summary(RunSummary.model_validate(make_summary_values(result=RESULT_OF_GUARD)), folder)
    assert (_step(folder, ""), _step(folder, "5")) == (4, 5)


def test_a_result_whose_checkpoint_is_gone_is_not_replaced_by_another(tmp_path: Path) -> None:
    make_store(str(tmp_path), (5, 6))
    folder = RunFolder(str(tmp_path), "run")
    write_summary(RunSummary.model_validate(make_summary_values(result=RESULT_OF_GUARD)), folder)
    with pytest.raises(CheckpointError, match="no complete checkpoint '4'; there are: 5, 6"):
        _step(folder, "")
