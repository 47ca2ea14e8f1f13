from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks.dataset import load_click_dataset
from caig_rl.data.clicks.groups import GROUP_SCHEMA, decode_png, write_groups
from caig_rl.data.clicks.pictures import PictureFaults, readable_pairs
from caig_rl.data.clicks.pipeline import make_pair_files
from caig_rl.errors import ClickLogError
from caig_rl.imaging.views import save_png
from tests.tiny import random_picture


def test_a_training_file_holds_every_test_of_its_split_with_its_creatives(tmp_path: Path):
    rows = []
    for product in range(40):
        for creative in range(1 + product % 3):
            save_png(random_picture(product * 3 + creative, 40), tmp_path / f"{product}-{creative}.png")
            counts = {"impressions": 1000 + creative, "clicks": 20 + product % 7 + creative}
            rows.append({"product": f"p{product}", "creative": f"c{creative}", "image": f"{product}-{creative}.png"} | counts)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "log.parquet")
    config = ClicksConfig(path=str(tmp_path / "log.parquet"), out=str(tmp_path / "out"), heldout_share=0.2)
    make_pair_files(config)
    data = load_click_dataset(config.out, tmp_path, "train")
    faults = PictureFaults()
    written = {split: write_groups(data, split, 32, tmp_path / "files", faults) for split in ("train", "validation", "heldout")}
    assert sum(written.values()) == sum(1 + product % 3 > 1 for product in range(40))
    table = pq.read_table(tmp_path / "files" / "train.parquet")
    assert (faults.read, faults.lines()) == (sum((1 + product % 3) * (product % 3 > 0) for product in range(40)), [])
    assert table.schema.equals(GROUP_SCHEMA) and table.num_rows == written["train"]
    first = table.slice(0, 1).to_pylist()[0]
    assert decode_png(first["images"][0]).shape == (32, 32, 3)
    assert first["impressions"] == [1000.0 + creative for creative in range(len(first["images"]))]
    number = int(first["product_id"][1:])
    np.testing.assert_allclose(first["clicks"], [20 + number % 7 + creative for creative in range(len(first["images"]))])


def test_tests_are_written_in_an_order_that_means_nothing_and_is_the_same_each_time(tmp_path: Path):
    data = load_click_dataset(log_with_bad_pictures(tmp_path).out, tmp_path, "train")
    for place in ("one", "two"):
        write_groups(data, "train", 32, tmp_path / place, PictureFaults())
    order = pq.read_table(tmp_path / "one" / "train.parquet")["test_id"].to_pylist()
    assert order == pq.read_table(tmp_path / "two" / "train.parquet")["test_id"].to_pylist()
    logged = list(dict.fromkeys(data.creatives["test_id"].to_pylist()))
    places = [logged.index(test) for test in order]
    assert len(set(places)) == len(places) == 29
    # Neighbours in the log are spread: in its own order the mean distance would be 1.
    assert np.abs(np.diff(places)).mean() > 5


def log_with_bad_pictures(folder: Path) -> ClicksConfig:
    """30 products of 3 creatives: p0 has one picture that is cut short, p1 one that is missing and one that is no picture."""
    rows = []
    for product in range(30):
        for creative in range(3):
            save_png(random_picture(product * 3 + creative, 40), folder / f"{product}-{creative}.png")
            counts = {"impressions": 1000, "clicks": 20 + creative}
            rows.append({"product": f"p{product}", "creative": f"c{creative}", "image": f"{product}-{creative}.png"} | counts)
    cut = folder / "0-1.png"
    cut.write_bytes(cut.read_bytes()[:200])
    (folder / "1-0.png").unlink()
    (folder / "1-2.png").write_text("no picture")
    pq.write_table(pa.Table.from_pylist(rows), folder / "log.parquet")
    config = ClicksConfig(path=str(folder / "log.parquet"), out=str(folder / "out"), validation_share=0.0, heldout_share=0.0)
    make_pair_files(config)
    return config


def test_a_creative_without_a_usable_picture_is_left_out_by_reason_and_its_test_where_one_is_left(tmp_path: Path):
    data, faults = load_click_dataset(log_with_bad_pictures(tmp_path).out, tmp_path, "train"), PictureFaults()
    assert write_groups(data, "train", 32, tmp_path, faults) == 29
    groups = {row["product_id"]: row for row in pq.read_table(tmp_path / "train.parquet").to_pylist()}
    assert "p1" not in groups
    assert len(groups["p0"]["images"]) == 2
    np.testing.assert_allclose(groups["p0"]["clicks"], [20, 22])
    assert (faults.read, faults.tests_lost) == (90, 1)
    assert faults.counts == {"image_truncated": 1, "image_missing": 1, "image_unreadable": 1}
    told = "\n".join(faults.lines())
    assert "image_missing 1, for example creative 'c0'" in told and "1-0.png" in told and "1 tests left out" in told
    faults.check(0.05)
    with pytest.raises(ClickLogError, match=r"3 of 90 pictures .* clicks\.max_faulty_share \(3%\)"):
        faults.check(0.03)


def test_pairs_with_an_unusable_picture_are_not_judged(tmp_path: Path):
    logged, faults = load_click_dataset(log_with_bad_pictures(tmp_path).out, tmp_path, "train"), PictureFaults()
    data = readable_pairs(logged, faults)
    assert (faults.read, faults.counts.total()) == (90, 3)
    # Of the three pairs of each, p0 keeps one and p1 none.
    assert len(data.first) == len(data.second) == data.pairs.num_rows == len(logged.first) - 5
    products = [data.product(int(row)).product_id for row in data.first]
    assert products == data.pairs["product_id"].to_pylist()
    assert (products.count("p0"), products.count("p1")) == (1, 0)
    for file in tmp_path.glob("*.png"):
        file.unlink()
    with pytest.raises(ClickLogError, match="no pair has two pictures"):
        readable_pairs(logged, PictureFaults())
