"""A look at the click world: its products in scenes of their own, what shoppers make of them, and the log they leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from caig_rl.config.schema import ImagingConfig
from caig_rl.evaluation.contact_sheet import Tile, contact_sheet
from caig_rl.imaging.composition import compose
from caig_rl.imaging.placement import place
from caig_rl.world.judge import WorldJudge
from caig_rl.world.logs import click_log
from caig_rl.world.products import WorldProducts
from caig_rl.world.scenes import draw_scene
from caig_rl.world.vocabulary import caption, draw_spec

_COLUMNS = 6
_IMPRESSIONS = 5000


def show_world(folder: Path, seed: int, num_products: int) -> list[Path]:
    """Write `world.png` and `clicks.parquet` to `folder` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng((seed, 4))
    source, judge, imaging = WorldProducts(seed, num_products, "train"), WorldJudge(seed), ImagingConfig()
    cutouts = source.cutouts([product.product_id for product in source.products])
    specs = [draw_spec(rng) for _ in cutouts]
    creatives = [
        compose(draw_scene(spec, rng), place(cutout, imaging, imaging.size), imaging) for spec, cutout in zip(specs, cutouts, strict=True)
    ]
    judged = judge.judge(source.products, creatives)
    tiles = [
        Tile(creative, f"{product.title}: {caption(spec)}. CTR {one.ctr:.2%}, relevance {one.relevance:.2f}")
        for creative, product, spec, one in zip(creatives, source.products, specs, judged, strict=True)
    ]
    picture, log = folder / "world.png", folder / "clicks.parquet"
    Image.fromarray(contact_sheet([tiles[k : k + _COLUMNS] for k in range(0, len(tiles), _COLUMNS)])).save(picture)
    ids = [f"c{index:06d}" for index in range(len(creatives))]
    pq.write_table(click_log(judge, source.products, creatives, ids, _IMPRESSIONS, seed), log)
    return [picture, log]
