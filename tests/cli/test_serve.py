"""`caig-rl serve`: what works without a running service, and what is said where none runs."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from caig_rl.cli import app
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.serving.events.click_log import CLICK_LOG_SCHEMA
from caig_rl.serving.keys import KeyRing
from tests.serving.choice.test_experiment import fill_log

runner = CliRunner()


def test_a_key_is_printed_alone_and_works(tmp_path: Path):
    result = runner.invoke(app, ["serve", "key", "acme", "--root", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert KeyRing(tmp_path).tenant_of(f"Bearer {result.stdout.strip()}") == "acme"


def test_a_tenant_with_a_wrong_name_is_refused(tmp_path: Path):
    result = runner.invoke(app, ["serve", "key", "../x", "--root", str(tmp_path)])
    assert result.exit_code == 1
    assert "tenant" in result.stderr


def test_the_log_is_written_in_the_schema_of_click_logs(tmp_path: Path):
    fill_log(tmp_path / "root")
    out = tmp_path / "deep" / "clicks.parquet"
    result = runner.invoke(app, ["serve", "log", "--root", str(tmp_path / "root"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    table = pq.read_table(out)
    assert table.schema.equals(CLICK_LOG_SCHEMA)
    assert sum(table["impressions"].to_pylist()) == 27_000


def test_an_empty_log_is_an_error_and_not_an_empty_file(tmp_path: Path):
    result = runner.invoke(app, ["serve", "log", "--root", str(tmp_path), "--out", str(tmp_path / "clicks.parquet")])
    assert result.exit_code == 1
    assert "no impression" in result.stderr
    assert not (tmp_path / "clicks.parquet").exists()


@pytest.mark.parametrize("command", [["promote", "runs/demo"], ["rollback"]])
def test_without_a_running_service_the_commands_say_how_to_start_one(tmp_path: Path, command: list[str]):
    result = runner.invoke(app, ["serve", *command, "--root", str(tmp_path)])
    assert result.exit_code == 1
    assert "serve run" in result.stderr
    assert "Traceback" not in result.output


def test_a_dry_run_prints_what_serve_deploy_takes():
    result = runner.invoke(app, ["serve", "run", "configs/serve-demo.yaml", "serve.port=8111", "--dry-run"])
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(result.stdout)["http_options"]["port"] == 8111


def start(monkeypatch: pytest.MonkeyPatch, root: Path, run: Callable[[Config, Callable[[str], None], Callable[[str], None]], None]) -> Any:
    """`caig-rl serve run` with a service in place of the real one."""
    monkeypatch.setattr("actors.serve.lifecycle.run_service", run)
    return runner.invoke(app, ["serve", "run", f"serve.root={root}"])


def test_the_first_key_is_made_when_the_service_is_up_and_not_used_up_by_a_start_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(*_: Any) -> None:
        raise UserError("the models did not load")

    failed = start(monkeypatch, tmp_path, fails)
    assert failed.exit_code == 1 and "the models did not load" in failed.stderr
    assert KeyRing(tmp_path).tenants() == []
    shown = start(monkeypatch, tmp_path, lambda _config, _say, ready: ready("http://127.0.0.1:8000")).stdout
    (key,) = re.findall("shown once: (.+)", shown)
    assert KeyRing(tmp_path).tenant_of(f"Bearer {key}") == "demo"
    assert "shown once" not in start(monkeypatch, tmp_path, lambda _config, _say, ready: ready("http://127.0.0.1:8000")).stdout


def test_ctrl_c_before_ray_is_up_ends_in_good_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    result = start(monkeypatch, tmp_path, interrupted)
    assert (result.exit_code, result.stdout) == (0, "stopped\n")


def a_file(folder: Path) -> str:
    (folder / "file").write_text("x")
    return str(folder / "file")


def one_line(result: Any, *words: str) -> None:
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr


def test_a_root_that_can_be_no_folder_is_named_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for root in (a_file(tmp_path), "/proc/x"):
        one_line(start(monkeypatch, Path(root), lambda *_: None), f"serve.root {root}")


@pytest.mark.parametrize("words", [["serve", "key", "acme", "--root"], ["serve", "log", "--root"], ["evaluate", "ab"]])
def test_a_folder_that_is_not_there_is_named_and_not_made(tmp_path: Path, words: list[str]):
    for root in (str(tmp_path / "serivng"), a_file(tmp_path)):
        one_line(runner.invoke(app, [*words, root]), f"no folder {root}", "serve.root")
    assert not (tmp_path / "serivng").exists()


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path):
    fill_log(tmp_path / "root")
    for out in ("/proc/x.parquet", f"{a_file(tmp_path)}/x.parquet", str(tmp_path)):
        one_line(runner.invoke(app, ["serve", "log", "--root", str(tmp_path / "root"), "--out", out]), f"--out {out}")


@pytest.mark.parametrize("words", [["serve", "promote", "runs/demo", "--traffic"], ["evaluate", "ab", "--alpha"]])
@pytest.mark.parametrize("share", ["0", "-0.1", "1.01", "nan"])
def test_a_share_out_of_range_is_refused_before_the_service_is_looked_for(words: list[str], share: str):
    result = runner.invoke(app, [*words, share])
    assert result.exit_code == 2
    assert "is not above 0 and" in result.stderr
