"""A log's parts by segment of shoppers, from rows to the rows that a reward model is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks.dataset import ClickDataset, load_click_dataset
from caig_rl.data.clicks.groups import GROUP_SCHEMA, SEGMENTED_SCHEMA, groups_source, write_groups
from caig_rl.data.clicks.pictures import PictureFaults
from caig_rl.data.clicks.pipeline import inspect_log, make_pair_files
from caig_rl.data.clicks.segments import SEGMENT_SCHEMA
from caig_rl.errors import ClickLogError
from caig_rl.learning.reward.objective import log_facts, rows_of_groups
from caig_rl.models.reward.scorer import RewardScorer, RewardSpec
from caig_rl.world.show import show_world
from caig_rl.world.tastes import SEGMENTS
from tests.data.clicks.logs import clicks_config


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a small world, three creatives a product, with pictures."""
    folder = tmp_path_factory.mktemp("world")
    show_world(folder, 0, 30, creatives_per_product=3)
    return folder


def _config(world: Path, out: Path, **settings: float) -> ClicksConfig:
    return ClicksConfig(path=str(world / "clicks.parquet"), out=str(out), heldout_share=0.0, split="unchecked", **settings)


def _dataset(world: Path, out: Path, segments: tuple[str, ...] = SEGMENTS) -> ClickDataset:
    config = _config(world, out)
    make_pair_files(config, segments=segments)
    return load_click_dataset(config.out, world, "train", segments=segments)


def test_the_parts_of_a_creative_add_up_to_the_whole(world: Path, tmp_path: Path) -> None:
    data = _dataset(world, tmp_path)
    assert data.by_segment is not None and data.by_segment.schema.equals(SEGMENT_SCHEMA)
    summed = data.by_segment.group_by("creative_id").aggregate([("impressions", "sum"), ("clicks", "sum")]).sort_by("creative_id")
    whole = data.creatives.sort_by("creative_id")
    assert summed["creative_id"].to_pylist() == whole["creative_id"].to_pylist()
    for name in ("impressions", "clicks"):
        assert summed[f"{name}_sum"].to_pylist() == whole[name].to_pylist()


def test_with_segments_the_whole_logs_files_are_those_without(world: Path, tmp_path: Path) -> None:
    plain, apart = _config(world, tmp_path / "plain"), _config(world, tmp_path / "apart")
    make_pair_files(plain)
    make_pair_files(apart, segments=SEGMENTS)
    for name in ("creatives.parquet", "pairs.parquet"):
        assert pq.read_table(f"{plain.out}/{name}").equals(pq.read_table(f"{apart.out}/{name}"))
    assert not (tmp_path / "plain" / "segments.parquet").exists()


def test_a_later_call_without_segments_leaves_no_stale_parts_and_reward_training_says_what_to_run(world: Path, tmp_path: Path) -> None:
    config = _config(world, tmp_path)
    _dataset(world, tmp_path)
    make_pair_files(config)
    with pytest.raises(ClickLogError, match=r"segments\.parquet is missing, with the segment 'bargain hunters'.*data pairs"):
        load_click_dataset(config.out, world, "train", segments=SEGMENTS)
    make_pair_files(config, segments=SEGMENTS[:1])
    with pytest.raises(ClickLogError, match="has no creative of the segment 'style seekers'"):
        load_click_dataset(config.out, world, "train", segments=SEGMENTS)


def test_a_segment_that_the_log_has_not_is_refused_with_those_it_has(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ClickLogError, match="has 'teens', and the log has no row of it; its segments are bargain hunters, gift"):
        inspect_log(_config(world, tmp_path), segments=["style seekers", "teens"])


def test_little_shown_creatives_are_left_out_of_the_segment_alone_and_unnamed_segments_out_of_all(tmp_path: Path) -> None:
    rows = [
        {"product": "p", "creative": creative, "segment": segment, "impressions": shown, "clicks": shown // 10}
        for creative in "ab"
        for segment, shown in (("teens", 400), ("adults", 50 if creative == "a" else 300), ("elders", 500), (None, 200))
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "log.parquet")
    config = clicks_config(tmp_path / "log.parquet", split="unchecked", heldout_share=0.0, validation_share=0.0)
    summary = make_pair_files(config, segments=["teens", "adults"])
    found = pq.read_table(tmp_path / "out" / "segments.parquet").select(["creative_id", "segment", "impressions"]).to_pylist()
    assert [tuple(row.values()) for row in found] == [("a", "teens", 400), ("b", "adults", 300), ("b", "teens", 400)]
    assert summary.count("segment_creatives") == 3 and pq.read_table(tmp_path / "out" / "creatives.parquet").num_rows == 2


def test_a_tests_parts_are_set_aside_with_it(tmp_path: Path) -> None:
    rows = [
        {"product": product, "creative": creative, "segment": "teens", "impressions": shown, "clicks": 40 + 30 * (creative == "a")}
        for product in "pq"
        for creative, shown in (("a", 1000), ("b", 5000 if product == "q" else 1000))
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "log.parquet")
    make_pair_files(clicks_config(tmp_path / "log.parquet", heldout_share=0.0, validation_share=0.0), segments=["teens"])
    assert set(pq.read_table(tmp_path / "out" / "segments.parquet")["product_id"].to_pylist()) == {"p"}


def test_a_training_file_has_a_tests_rows_of_everybody_and_of_each_segment_side_by_side(world: Path, tmp_path: Path) -> None:
    data, faults = _dataset(world, tmp_path), PictureFaults()
    assert data.by_segment is not None
    written = write_groups(data, "train", 32, tmp_path, faults)
    table = pq.read_table(tmp_path / "train.parquet")
    assert table.schema.equals(SEGMENTED_SCHEMA) and table.num_rows == written and written % 4 == 0
    assert table["segment"].to_pylist() == ["", *sorted(SEGMENTS)] * (written // 4)
    assert faults.read == 3 * written // 4, "each picture is read once"
    whole, *parts = table.slice(0, 4).to_pylist()
    assert all(part["images"] == whole["images"] and part["test_id"] == whole["test_id"] for part in parts)
    for name in ("impressions", "clicks"):
        np.testing.assert_allclose(np.sum([part[name] for part in parts], axis=0), whole[name])


def test_what_was_written_without_segments_is_not_taken_for_what_is_wanted_with_them(world: Path, tmp_path: Path) -> None:
    apart = _dataset(world, tmp_path)
    plain = load_click_dataset(_config(world, tmp_path).out, world, "train")
    some = load_click_dataset(_config(world, tmp_path).out, world, "train", segments=SEGMENTS[:2])
    assert len({groups_source(data, 32) for data in (apart, plain, some)}) == 3
    write_groups(plain, "train", 32, tmp_path, PictureFaults())
    assert pq.read_schema(tmp_path / "train.parquet").equals(GROUP_SCHEMA)


def test_the_reward_model_is_told_whose_clicks_a_row_holds(world: Path, tmp_path: Path) -> None:
    write_groups(_dataset(world, tmp_path), "train", 64, tmp_path, PictureFaults())
    table = pq.read_table(tmp_path / "train.parquet").slice(0, 4)
    reader = type("Reader", (), {"spec": RewardSpec(64), "text_of": RewardScorer.text_of})()
    rows = rows_of_groups(reader, table.to_pydict())
    assert [text.partition(" Shoppers: ")[2] for text in rows.product_texts] == ["", *(f"{name}." for name in sorted(SEGMENTS))]
    assert np.bincount(rows.product_index).tolist() == [3, 3, 3, 3], "each segment's rows are compared among themselves"
    plain = rows_of_groups(reader, table.drop_columns(["segment"]).to_pydict())
    assert set(plain.product_texts) == {rows.product_texts[0]}


def test_the_logs_facts_count_a_segments_rows_as_the_training_file_has_them(world: Path, tmp_path: Path) -> None:
    apart = _dataset(world, tmp_path)
    plain = load_click_dataset(_config(world, tmp_path).out, world, "train")
    one, other = (log_facts(data, _config(world, tmp_path).out) for data in (plain, apart))
    trained = apart.creatives.filter(pc.equal(apart.creatives["split"], "train"))
    assert one.mean_clicks == pytest.approx(float(np.mean(trained["clicks"].to_numpy())))
    assert other.mean_clicks == pytest.approx(one.mean_clicks / 2), "twice the clicks in four times the rows"
    assert other.rate == pytest.approx(one.rate, rel=1e-3)
