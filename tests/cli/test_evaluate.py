"""`caig-rl evaluate policy`: on which products."""

from __future__ import annotations

import pytest
import yaml

from caig_rl.cli.evaluate import evaluation_settings
from caig_rl.config.load import config_yaml, load_config
from caig_rl.runs.folder import RunFolder


@pytest.fixture
def run(request: pytest.FixtureRequest) -> RunFolder:
    """A run on own.csv."""
    folder = RunFolder("memory://shelf", request.node.name)
    folder.write_text("config.yaml", config_yaml(load_config(None, ["catalog.path=own.csv"])))
    return folder


def test_the_split_is_the_runs_own(run: RunFolder) -> None:
    catalog = evaluation_settings(run, ["evaluation.products=96"]).catalog
    assert (catalog.path, catalog.heldout_share) == ("own.csv", None)


def test_another_catalog_is_measured_whole_unless_a_share_is_named(run: RunFolder) -> None:
    assert evaluation_settings(run, ["catalog.path=others.csv"]).catalog.heldout_share == 0.0
    named = evaluation_settings(run, ["catalog.path=others.csv", "catalog.heldout_share=0.5"])
    assert named.catalog.heldout_share == 0.5


def test_a_run_from_before_products_were_held_out_is_measured_on_all_of_them(run: RunFolder) -> None:
    tree = yaml.safe_load(run.read_text("config.yaml"))
    del tree["catalog"]["heldout_share"]
    run.write_text("config.yaml", yaml.safe_dump(tree))
    assert evaluation_settings(run, []).catalog.heldout_share == 0.0
