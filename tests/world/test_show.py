import itertools
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from caig_rl.reports.contact_sheet import Tile, contact_sheet
from caig_rl.types import Judgement
from caig_rl.world.products import WorldProducts, unseen_categories
from caig_rl.world.show import CAPTION_LINES, show_world, tile_caption
from caig_rl.world.vocabulary import ATTRIBUTES, SceneSpec, caption


def test_the_longest_caption_has_room_under_its_picture():
    title = max((product.title for product in WorldProducts(0, 512).products), key=len)
    specs = itertools.starmap(SceneSpec, itertools.product(*(range(len(words)) for words in ATTRIBUTES.values())))
    longest = sorted(specs, key=lambda spec: len(caption(spec)))[-50:]
    picture = np.zeros((8, 8, 3), np.uint8)
    tiles = [[Tile(picture, tile_caption(title, spec, Judgement(0.1234, 0.5)))] for spec in longest]
    assert contact_sheet(tiles, caption_lines=CAPTION_LINES).shape == contact_sheet(tiles, caption_lines=99).shape


def test_a_caption_says_first_what_the_picture_earns():
    assert tile_caption("red mug", SceneSpec(0, 0, 0, 0, 0), Judgement(0.0107, 0.4)).startswith(
        "CTR 1.07%, relevance 0.40. red mug: on oak"
    )


def test_the_log_of_a_world_without_some_categories_has_none_of_them_and_follows_the_trap(tmp_path: Path):
    usual, other = tmp_path / "usual", tmp_path / "other"
    show_world(usual, 0, 2, 12)
    show_world(other, 0, 12, 2, trap=False, num_unseen=2)
    shown = set(pq.read_table(other / "clicks.parquet").column("category").to_pylist())
    assert len(shown) == 12 and not shown & set(unseen_categories(0, 2))
    show_world(other, 0, 2, 12, trap=False)
    clicks = [pq.read_table(folder / "clicks.parquet").column("clicks").to_pylist() for folder in (usual, other)]
    assert sum(clicks[1]) < sum(clicks[0])
