from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from caig_rl.runs.folder import RunFolder
from caig_rl.runs.result_checkpoint import result_step
from caig_rl.runs.summary import RunSummary, write_summary
from tests.finished_run import RESULT_OF_GUARD


@pytest.mark.parametrize(
    ("changes", "step"), [({"result": RESULT_OF_GUARD}, 4), ({"result": RESULT_OF_GUARD, "status": "stopped"}, None), ({}, None)]
)
def test_a_run_that_is_done_names_the_checkpoint_of_its_result(
    changes: dict[str, Any], step: int | None, run_folder: RunFolder, summary_values: Callable[..., dict[str, Any]]
) -> None:
    assert result_step(run_folder) is None
    write_summary(RunSummary.model_validate(summary_values(**changes)), run_folder)
    assert result_step(run_folder) == step
