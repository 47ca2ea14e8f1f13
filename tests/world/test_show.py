import itertools

import numpy as np

from caig_rl.reports.contact_sheet import Tile, contact_sheet
from caig_rl.types import Judgement
from caig_rl.world.products import WorldProducts
from caig_rl.world.show import CAPTION_LINES, tile_caption
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
