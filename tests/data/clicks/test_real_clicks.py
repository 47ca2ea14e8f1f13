"""The click pipeline on real A/B tests that nobody on the project made. Skipped where they are absent."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks.pipeline import make_pair_files
from caig_rl.data.clicks.summary import ClickSummary


@pytest.fixture(scope="module")
def made(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ClickSummary, Path, Path]:
    log = shared_data / "clicks" / "upworthy.parquet"
    if not log.is_file():
        pytest.skip(f"no click log at {log}")
    out = tmp_path_factory.mktemp("clicks")
    columns = {"product": "clickability_test_id", "creative": "headline"}
    config = ClicksConfig(path=str(log), columns=columns, rows_are_arms=True, min_impressions=1, out=str(out))
    return make_pair_files(config), log, out


def test_every_arm_and_test_is_accounted_for(made: tuple[ClickSummary, Path, Path]):
    summary, _, _ = made
    assert summary.count("rows_accepted") == summary.count("arms") == 13515
    assert summary.count("tests") == sum(summary.split_check.verdicts.values()) == 2899


def test_the_tests_set_aside_lie_in_the_months_whose_randomisation_the_archive_says_was_broken(made: tuple[ClickSummary, Path, Path]):
    """No date is read by the check; the archive dates the fault from June 2013 to January 2014."""
    summary, log, out = made
    aside = summary.split_check.verdicts["deviates"]
    assert 350 < aside < 550
    table = pq.read_table(log, columns=["clickability_test_id", "test_week"]).to_pydict()
    week = dict(zip(table["clickability_test_id"], table["test_week"], strict=True))
    kept = set(pq.read_table(out / "creatives.parquet")["test_id"].to_pylist())
    gone = [week[test] for test in week if test not in kept]
    assert len(gone) == aside
    assert sum(201325 <= number <= 201402 for number in gone) / len(gone) > 0.95


def test_the_ceiling_of_all_pairs_is_the_one_known_of_this_archive(made: tuple[ClickSummary, Path, Path]):
    policies = made[0].policies
    assert 0.78 < policies["all"].ceiling < 0.85
    assert policies["official"].ceiling < 0.72 < 0.95 < policies["significant"].ceiling
