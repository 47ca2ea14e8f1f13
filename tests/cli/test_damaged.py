"""Files of a run folder that hold rubbish: a command names the file in one line, and ends with 1."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from caig_rl.cli import app
from caig_rl.runs.folder import RunFolder
from tests.finished_run import write_made_up_run

GARBAGE = {"zeros": b"\x00" * 64, "noise": b"\xff\xfe\x80PAR1\x00garbage\xc3\x28\n", "other text": b"{]: no such file\n"}
READ = {
    ("report",): ("config.yaml", "summary.json", "metrics.jsonl", "samples/gallery.json", "ledger.parquet", "events.jsonl"),
    ("status", "--once"): ("config.yaml", "summary.json", "metrics.jsonl", "ledger.parquet", "live.json"),
    ("evaluate", "policy"): ("config.yaml",),
}


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize(("command", "name"), [(command, name) for command, names in READ.items() for name in names])
def test_rubbish_in_a_file_is_one_clear_line(tmp_path: Path, command: tuple[str, ...], name: str, kind: str) -> None:
    folder = RunFolder(str(tmp_path), "run")
    write_made_up_run(folder)
    folder.write_bytes(name, GARBAGE[kind])
    done = CliRunner().invoke(app, [*command, folder.url])
    assert done.exit_code == 1, done.output
    assert done.output.count("\n") == 1 and f"{name} is damaged" in done.output and "Put a sound copy back" in done.output
