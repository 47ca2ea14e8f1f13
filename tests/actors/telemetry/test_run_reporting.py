"""What a run reports beyond its folder, and what a broken listener costs it."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from actors.telemetry.progress import Silent
from actors.telemetry.run_reporting import BackgroundReporter, run_reporting
from caig_rl.config.schema import Config
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import RoundDetail


class Listener:
    """Remembers what it was told; does not answer while `down`."""

    def __init__(self) -> None:
        self.rounds: list[object] = []
        self.end: tuple[str, Mapping[str, float]] | None = None
        self.down = False

    def log_round(self, row: Mapping[str, object]) -> None:
        if self.down:
            raise ConnectionError("no route to host")
        self.rounds.append(row["round"])

    def finish(self, status: str, numbers: Mapping[str, float]) -> None:
        self.end = (status, numbers)


class Wavering(Listener):
    """Answers again after `failures` refusals."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def log_round(self, row: Mapping[str, object]) -> None:
        self.failures -= 1
        self.down = self.failures >= 0
        super().log_round(row)


def test_every_listener_hears_each_round_in_order_and_the_end():
    first, second = Listener(), Listener()
    reporter = BackgroundReporter({"first": first, "second": second}, lambda _: None)
    for number in range(5):
        reporter.log_round({"round": number})
    reporter.finish("done", {"ctr.lift": 0.1})
    for listener in (first, second):
        assert listener.rounds == [0, 1, 2, 3, 4]
        assert listener.end == ("done", {"ctr.lift": 0.1})


def test_what_a_listener_did_not_take_is_sent_again_and_others_miss_nothing():
    wavering, steady = Wavering(2), Listener()
    said: list[str] = []
    reporter = BackgroundReporter({"wandb": wavering, "steady": steady}, said.append)
    for number in range(4):
        reporter.log_round({"round": number})
    reporter.finish("done", {})
    assert wavering.rounds == steady.rounds == [0, 1, 2, 3]
    assert said == ["wandb does not answer; the run goes on, and what it misses is sent again later"]


def test_a_listener_that_never_answers_costs_the_run_nothing_and_is_in_the_log(caplog: pytest.LogCaptureFixture):
    broken = Listener()
    broken.down = True
    reporter = BackgroundReporter({"mlflow": broken}, lambda _: None)
    reporter.log_round({"round": 0})
    reporter.finish("done", {})
    assert broken.rounds == [] and broken.end is None
    assert "no route to host" in caplog.text


def written(root: Path) -> list[dict]:
    (file,) = (root / "small" / "logs").iterdir()
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_phases_notes_and_rounds_are_lines_of_the_controllers_log(tmp_path: Path):
    folder = RunFolder(str(tmp_path), "small")
    folder.prepare()
    with run_reporting(Config(), folder, Silent()) as reporting:
        reporting.phase("round 1 of 2", 8)
        reporting.note("waiting 60 s for 1 of 2 renderer worker(s)")
        reporting.round_ended(RoundDetail(round=0, pairs=4, loss=0.5))
    lines = written(tmp_path)
    assert [line["message"] for line in lines] == ["round 1 of 2", "waiting 60 s for 1 of 2 renderer worker(s)", "round 1 ended"]
    assert {(line["run"], line["role"]) for line in lines} == {("small", "controller")}
    assert lines[2]["numbers"]["loss"] == 0.5


def test_a_failure_is_the_logs_last_line_and_goes_on_up(tmp_path: Path):
    folder = RunFolder(str(tmp_path), "small")
    folder.prepare()
    before = list(logging.getLogger().handlers)
    with pytest.raises(ValueError, match="no such mug"), run_reporting(Config(), folder, Silent()):
        raise ValueError("no such mug")
    last = written(tmp_path)[-1]
    assert last["level"] == "ERROR" and "no such mug" in last["message"]
    assert logging.getLogger().handlers == before
