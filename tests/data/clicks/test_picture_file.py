"""Logs that hold their pictures as bytes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks import readers
from caig_rl.data.clicks.checks import FaultCounter
from caig_rl.data.clicks.dataset import PictureRefused, load_click_dataset
from caig_rl.data.clicks.groups import encode_png
from caig_rl.data.clicks.picture_file import copy_pictures, read_picture
from caig_rl.data.clicks.pipeline import inspect_log, make_pair_files
from caig_rl.data.clicks.reading import read_log
from caig_rl.data.clicks.totals import ArmTotals
from caig_rl.errors import ClickLogError
from tests.data.clicks.logs import clicks_config
from tests.tiny import random_picture


def _write_log(folder: Path, num_products: int = 12) -> tuple[ClicksConfig, dict[tuple[str, str], bytes]]:
    """Two files of three creatives a product, each creative twice, in a random order; the very first row has no picture."""
    pictures = {(f"p{p}", f"c{c}"): encode_png(random_picture(3 * p + c, 24)) for p in range(num_products) for c in range(3)}
    rows = [
        {"product": product, "creative": creative, "impressions": 1000 + turn, "clicks": 20 + int(creative[1]), "image": content}
        for turn in range(2)
        for (product, creative), content in pictures.items()
    ]
    rows[0]["image"] = None
    (folder / "log").mkdir()
    order = np.random.default_rng(0).permutation(np.arange(1, len(rows)))
    shuffled = [rows[0], *(rows[k] for k in order)]
    for part in range(2):
        pq.write_table(pa.Table.from_pylist(shuffled[part::2]), folder / "log" / f"{part}.parquet", row_group_size=7)
    return clicks_config(folder / "log", validation_share=0.0, heldout_share=0.0), pictures


def test_every_creative_gets_its_own_picture_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readers, "PICTURE_ROWS", 5)
    config, pictures = _write_log(tmp_path)
    summary = make_pair_files(config)
    assert summary.count("pictures") == 36
    creatives = pq.read_table(Path(config.out) / "creatives.parquet")
    for row in creatives.to_pylist():
        content = read_picture(config.out, row["image_offset"], row["image_size"], row["image_digest"])
        assert content == pictures[row["product_id"], row["creative_id"]]
    assert (Path(config.out) / "images.bin").stat().st_size == sum(creatives["image_size"].to_pylist())
    data = load_click_dataset(config.out, tmp_path, "train")
    np.testing.assert_array_equal(data.image(35), random_picture(3 * 9 + 2, 24))  # p9 c2: the last by name


def test_totals_and_what_becomes_of_them_hold_no_bytes(tmp_path: Path):
    config, _ = _write_log(tmp_path)
    totals = ArmTotals()
    for batch in read_log(config):
        totals.add(FaultCounter().accepted(batch))
    _, creatives = inspect_log(config)
    for table in (totals.table(), creatives):
        assert not any(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) for kind in table.schema.types)
    assert totals.table()["picture"].null_count == 0


def test_rows_at_a_time_are_bounded_by_the_bytes_of_their_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readers, "PICTURE_BYTES", 4500)
    config, _ = _write_log(tmp_path)
    sizes = [(batch.num_rows, sum(len(content or b"") for content in batch.pictures.to_pylist())) for batch in read_log(config)]
    assert len(sizes) > 20
    assert max(held for _, held in sizes) <= 4500
    assert sum(rows for rows, _ in sizes) == 72


def test_a_log_that_changed_between_the_two_readings_is_refused(tmp_path: Path):
    config, _ = _write_log(tmp_path)
    _, creatives = inspect_log(config)
    places = pa.chunked_array([pa.array(np.arange(creatives.num_rows) + (7 << 40), pa.int64())])
    with pytest.raises(ClickLogError, match="36 pictures are no longer where they were"):
        copy_pictures(read_log(config), creatives, places, config.out)
    assert list(Path(config.out).iterdir()) == []


def test_a_picture_of_another_writing_is_refused_and_never_taken_for_this_creatives(tmp_path: Path):
    config, _ = _write_log(tmp_path)
    make_pair_files(config)
    data = load_click_dataset(config.out, tmp_path, "train")
    images = Path(config.out) / "images.bin"
    images.write_bytes(images.read_bytes()[::-1])
    with pytest.raises(PictureRefused, match=r"creative 'c0'.*images\.bin.*data pairs") as refusal:
        data.image(0)
    assert refusal.value.reason == "picture_altered"
    images.unlink()
    with pytest.raises(PictureRefused, match=r"images\.bin"):
        data.image(0)
