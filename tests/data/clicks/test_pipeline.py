import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from caig_rl.data.clicks.creatives import CREATIVE_SCHEMA
from caig_rl.data.clicks.pairs import PAIR_SCHEMA
from caig_rl.data.clicks.pipeline import inspect_log, make_pair_files
from caig_rl.errors import ClickLogError
from caig_rl.world.show import show_world
from tests.data.clicks.logs import clicks_config, write_synthetic_log


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_synthetic_log(tmp_path / "log.parquet")


def test_rows_become_creatives_and_pairs_with_a_count_after_each_step(log: Path):
    config = clicks_config(log)
    summary = make_pair_files(config)
    creatives, pairs = (pq.read_table(Path(config.out) / name) for name in ("creatives.parquet", "pairs.parquet"))
    assert creatives.schema.equals(CREATIVE_SCHEMA) and pairs.schema.equals(PAIR_SCHEMA)
    assert summary.count("rows_read") == summary.count("rows_accepted") == summary.count("arms") == creatives.num_rows == 240
    assert summary.count("tests") == summary.count("comparable_tests") == 60
    assert summary.count("pairs") == pairs.num_rows == 360
    kept = summary.policies["all"]
    assert kept.train + kept.validation + kept.heldout == pairs["label"].is_valid().to_pylist().count(True)
    assert kept.ceiling is not None and 0.7 < kept.ceiling < summary.policies["significant"].ceiling
    assert json.loads((Path(config.out) / "clicks.json").read_text())["policies"]["all"]["train"] == kept.train


def test_a_product_is_in_one_split_only(log: Path):
    config = clicks_config(log)
    make_pair_files(config)
    for name in ("creatives.parquet", "pairs.parquet"):
        table = pq.read_table(Path(config.out) / name)
        splits = set(zip(table["product_id"].to_pylist(), table["split"].to_pylist(), strict=True))
        assert len(splits) == len({product for product, _ in splits})


def test_the_same_log_and_seed_give_the_same_files(log: Path):
    config = clicks_config(log, max_pairs_per_test=3)
    first = (make_pair_files(config, seed=4), pq.read_table(Path(config.out) / "pairs.parquet"))
    second = (make_pair_files(config, seed=4), pq.read_table(Path(config.out) / "pairs.parquet"))
    assert first[0] == second[0] and first[1].equals(second[1])
    assert first[0].count("pairs") == 180


def test_a_test_whose_traffic_was_not_split_as_designed_gives_no_pairs(log: Path):
    table = pq.read_table(log).to_pylist()
    for row in table[:4]:
        row["impressions"] += 1000 * (row["creative"] == "p0-c0")
    pq.write_table(pq.read_table(log).from_pylist(table), log)
    config = clicks_config(log)
    summary = make_pair_files(config)
    assert summary.split_check.worst[0][0] == "p0"
    assert "p0" not in pq.read_table(Path(config.out) / "pairs.parquet")["product_id"].to_pylist()


def test_no_pairs_left_says_the_count_after_each_step_and_leaves_no_file(log: Path):
    config = clicks_config(log, min_impressions=10**6)
    with pytest.raises(ClickLogError, match=r"keeps no pair.*rows read 240; .*at least 1000000 impressions 0"):
        make_pair_files(config)
    assert [path.name for path in Path(config.out).iterdir()] == []


def test_too_many_faulty_rows_stop_the_job(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("product,creative,impressions,clicks\np,a,10,11\np,b,10,1\n")
    with pytest.raises(ClickLogError, match=r"1 of 2 rows .50\.0%. are faulty"):
        inspect_log(clicks_config(path))


def test_a_log_without_a_click_is_refused_with_the_column_that_was_read(log: Path):
    table = pq.read_table(log)
    table = table.rename_columns(["product", "creative", "impressions", "conv"]).append_column("clicks", [[0] * table.num_rows])
    pq.write_table(table, log)
    with pytest.raises(
        ClickLogError, match=r"no click in 240 accepted rows.*'clicks'.*clicks\.columns\.clicks.*rows read 240; .*fault 240"
    ):
        make_pair_files(clicks_config(log))
    assert make_pair_files(clicks_config(log, columns={"clicks": "conv"})).count("pairs") == 360


def test_a_design_that_the_log_does_not_hold_is_refused(log: Path):
    with pytest.raises(ClickLogError, match=r"clicks\.columns\.propensity"):
        inspect_log(clicks_config(log, split="propensity"))


def test_the_worlds_own_log_is_read_without_a_mapping(tmp_path: Path):
    show_world(tmp_path, 0, 12)
    summary, creatives = inspect_log(clicks_config(tmp_path / "clicks.parquet"))
    assert summary.faults == {}
    assert creatives["impressions"].to_pylist() == [5000] * 12
