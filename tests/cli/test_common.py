"""What the commands share: addresses of runs, and what may stand where a config does."""

from pathlib import Path

import pytest

from caig_rl.cli.common import check_writable, resolved_config, run_address, sources
from caig_rl.errors import ConfigError, UserError
from caig_rl.runs.folder import RunFolder
from caig_rl.world.judge import WorldJudge
from caig_rl.world.products import unseen_categories


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


def test_products_and_judge_follow_the_world_that_the_configuration_names() -> None:
    train, evaluated, judge = sources(resolved_config(None, ["world.trap=varied", "world.unseen_categories=2", "world.seed=4"]))
    unseen = {product.category for product in evaluated.products if product.unseen_category}
    assert unseen == set(unseen_categories(4, 2)) and not unseen & {product.category for product in train.products}
    assert isinstance(judge, WorldJudge) and judge.trap == "varied"
    usual, plain, _ = sources(resolved_config(None, []))
    assert len(usual.products) == len(train.products) == 512 and not any(one.unseen_category for one in plain.products)
