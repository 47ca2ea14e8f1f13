"""A stage of the build in a process of its own."""

from __future__ import annotations

import pytest

from caig_rl.errors import UserError
from caig_rl.nano.isolated import in_own_process
from tests.nano.counting import counted


def test_a_stage_in_its_own_process_reports_returns_and_fails_as_here():
    seen: list[int] = []
    assert in_own_process(counted, 3, progress=lambda stage, step, total, loss: seen.append(step)) == 3
    assert seen == [1, 2, 3]
    with pytest.raises(UserError, match="below zero"):
        in_own_process(counted, -1, progress=lambda *step: None)
