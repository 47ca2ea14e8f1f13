"""What the commands share: addresses of runs, and what may stand where a config does."""

from pathlib import Path

import pytest

from caig_rl.cli.common import check_writable, resolved_config, run_address
from caig_rl.errors import ConfigError, UserError
from caig_rl.runs.folder import RunFolder


@pytest.mark.parametrize(
    ("given", "parent", "name"),
    [
        ("s3://bucket/runs/demo/", "s3://bucket/runs", "demo"),
        ("memory://demo", "memory://", "demo"),
        ("/tmp/../demo/", "/", "demo"),
    ],
)
def test_a_run_is_named_by_a_path_or_by_the_address_of_a_store(given: str, parent: str, name: str) -> None:
    assert run_address(given) == (parent, name)


def test_a_relative_run_lies_in_the_working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_address("demo") == (str(tmp_path.resolve()), "demo")
    assert run_address(".") == (str(tmp_path.resolve().parent), tmp_path.name)


def test_a_run_in_a_store_is_read_from_there() -> None:
    RunFolder("memory://shelf", "demo").write_text("config.yaml", "run: {}")
    assert run_address("memory://shelf/demo").folder().read_text("config.yaml") == "run: {}"


def test_a_store_of_no_known_kind_is_an_error_with_its_address() -> None:
    with pytest.raises(UserError, match="nowhere://runs/demo cannot be reached"):
        run_address("nowhere://runs/demo").folder()


def test_a_catalog_where_a_config_belongs_is_asked_about() -> None:
    with pytest.raises(ConfigError, match=r"did you mean catalog\.path=products\.csv"):
        resolved_config("products.csv", [])


def test_the_address_of_a_store_stays_whole_where_an_override_stands_in_the_configs_place() -> None:
    assert resolved_config("run.root=s3://bucket/runs", ["run.seed=1"]).run.root == "s3://bucket/runs"


def test_a_folder_that_cannot_be_written_is_named_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=f"--out {folder}: no folder that can be written"):
            check_writable(folder, "--out")
    check_writable(tmp_path / "new" / "folder", "--out")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
