"""`caig-rl serve`: what works without a running service, and what is said where none runs."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from caig_rl.cli import app
from caig_rl.serving.clicks import CLICK_LOG_SCHEMA
from caig_rl.serving.keys import KeyRing
from tests.serving.test_experiment import fill_log

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
