from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks.dataset import load_click_dataset
from caig_rl.data.clicks.groups import GROUP_SCHEMA, decode_png, write_groups
from caig_rl.data.clicks.pipeline import make_pair_files
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
    written = {split: write_groups(data, split, 32, tmp_path / "files") for split in ("train", "validation", "heldout")}
    assert sum(written.values()) == sum(1 + product % 3 > 1 for product in range(40))
    table = pq.read_table(tmp_path / "files" / "train.parquet")
    assert table.schema.equals(GROUP_SCHEMA) and table.num_rows == written["train"]
    first = table.slice(0, 1).to_pylist()[0]
    assert decode_png(first["images"][0]).shape == (32, 32, 3)
    assert first["impressions"] == [1000.0 + creative for creative in range(len(first["images"]))]
    number = int(first["product_id"][1:])
    np.testing.assert_allclose(first["clicks"], [20 + number % 7 + creative for creative in range(len(first["images"]))])
