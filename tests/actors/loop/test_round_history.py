from __future__ import annotations

import json
from pathlib import Path

from actors.loop.round_history import RoundHistory, rounds_written
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import RoundDetail


def _detail(number: int) -> RoundDetail:
    return RoundDetail.model_validate({"round": number, "pairs": 4, "kl": 0.1, "reward_score": 0.5, "loss": None, "seconds": 9.0})


def test_a_round_that_ends_is_a_row_of_the_file_and_of_the_checkpoint(tmp_path: Path) -> None:
    history = RoundHistory(RunFolder(str(tmp_path), "run"))
    for number in (0, 1):
        history.add(_detail(number))
    rows = RunFolder(str(tmp_path), "run").read_metrics()
    assert rows == history.to_json() and rounds_written(RunFolder(str(tmp_path), "run")) == {0, 1}


def test_rows_of_rounds_that_a_resume_runs_again_go(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "run")
    before, later = RoundHistory(folder), RoundHistory(folder)
    before.add(_detail(0))
    kept = json.loads(json.dumps(before.to_json()))
    before.add(_detail(1))
    later.restore(kept)
    assert later.details == [_detail(0)] and rounds_written(folder) == {0, 1}
    later.rewrite_file()
    assert rounds_written(folder) == {0}


def test_a_damaged_file_has_no_rounds_and_is_mended(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "run")
    folder.write_text("metrics.jsonl", "{")
    assert rounds_written(folder) == set()
    history = RoundHistory(folder)
    history.restore([_detail(0).model_dump(mode="json")])
    history.rewrite_file()
    assert rounds_written(folder) == {0}
