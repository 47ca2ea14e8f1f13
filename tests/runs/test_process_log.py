"""Where a process's lines go."""

import json
import logging
from pathlib import Path

import fsspec
import pytest

from caig_rl.config.tracking import LogsConfig
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.process_log import RunLog

LOGGER = logging.getLogger("actors.somewhere")


def test_lines_are_in_the_run_folder_and_none_follow_after_the_log_was_closed(tmp_path: Path):
    folder = RunFolder(str(tmp_path), "mugs")
    folder.prepare()
    log = RunLog(folder, "controller", LogsConfig())
    LOGGER.info("first")
    log.close()
    LOGGER.warning("second")
    (file,) = (tmp_path / "mugs" / "logs").iterdir()
    assert file.name.startswith("controller-")
    assert [json.loads(line)["message"] for line in file.read_text().splitlines()] == ["first"]


def test_by_option_the_lines_are_on_standard_output_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = RunFolder(str(tmp_path), "mugs")
    folder.prepare()
    for stdout in (False, True):
        log = RunLog(folder, "controller", LogsConfig(stdout=stdout))
        LOGGER.info("shown: %s", stdout)
        log.close()
    assert [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()] == ["shown: True"]


def test_on_an_object_store_the_file_is_there_after_each_round_and_at_the_end():
    folder = RunFolder("memory://logs-of-runs", "mugs")
    folder.prepare()
    store = fsspec.filesystem("memory")
    log = RunLog(folder, "controller", LogsConfig())
    try:
        LOGGER.info("first")
        log.log_round({"round": 0})
        assert b"first" in store.cat_file(f"/logs-of-runs/mugs/{log.name}")
        LOGGER.info("last")
    finally:
        log.close()
    assert b"last" in store.cat_file(f"/logs-of-runs/mugs/{log.name}")
    store.rm("/logs-of-runs", recursive=True)
