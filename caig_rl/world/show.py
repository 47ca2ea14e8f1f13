"""A look at the click world: its products in scenes of their own, what shoppers make of them, and the log they leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from PIL import Image

from caig_rl.config.schema import ImagingConfig
from caig_rl.imaging.composition import compose
from caig_rl.imaging.placement import place
from caig_rl.imaging.views import judge_view, save_png
from caig_rl.reports.contact_sheet import Tile, contact_sheet
from caig_rl.types import Judgement, Product
from caig_rl.world.judge import WorldJudge
from caig_rl.world.logs import click_log
from caig_rl.world.products import WorldProducts, unseen_categories
from caig_rl.world.scenes import draw_scene
from caig_rl.world.tastes import Trap
from caig_rl.world.vocabulary import SceneSpec, caption, draw_spec

_COLUMNS = 6
_IMPRESSIONS = 5000
_MOST_TILES = 48
CAPTION_LINES = 7
"""Room for the longest title and scene there are."""
_PICTURE_SIDE = 128
"""Twice what shoppers and models of the world see."""
PICTURES, PHOTOS = "creatives", "products"
"""Folders of the ads' and of the products' pictures, beside the log."""
CATALOG, CAPTIONS = "products.csv", "captions.csv"
"""The products as a catalog, and the ads with the words for their backgrounds: for `caig-rl pretrain`."""


def show_world(
    folder: Path,
    seed: int,
    num_products: int,
    creatives_per_product: int = 1,
    on_product: Callable[[], None] = lambda: None,
    trap: Trap = True,
    num_unseen: int = 0,
) -> list[Path]:
    """Write `world.png`, `clicks.parquet`, `products.csv`, `captions.csv` and the pictures that they name to `folder`; returns those four
    paths, and those of the pictures' two folders.

    The log has the world's own columns, and the creative's picture, its product's title and category, as a platform's export would.
    `on_product` is told after each product. `trap` and `num_unseen` are `world.trap` and `world.unseen_categories`, which are in no file.
    """
    for name in (PICTURES, PHOTOS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng((seed, 4))
    source = WorldProducts(seed, num_products, "train", without=unseen_categories(seed, num_unseen))
    judge, imaging = WorldJudge(seed, trap), ImagingConfig()
    tiles: list[Tile] = []
    logs: list[pa.Table] = []
    captions: list[dict[str, str]] = []
    for number, product in enumerate(source.products):
        (cutout,) = source.cutouts([product.product_id])
        save_png(cutout.rgba, folder / _photo(product))
        specs = [draw_spec(rng) for _ in range(creatives_per_product)]
        placed = place(cutout, imaging, imaging.size)
        creatives = [compose(draw_scene(spec, rng), placed) for spec in specs]
        products = [product] * creatives_per_product
        if len(tiles) < _MOST_TILES:
            tiles += [
                Tile(creative, tile_caption(product.title, spec, one))
                for creative, spec, one in zip(creatives, specs, judge.judge(products, creatives), strict=True)
            ]
        ids = [f"c{number * creatives_per_product + index:06d}" for index in range(creatives_per_product)]
        for name, creative, spec in zip(ids, creatives, specs, strict=True):
            save_png(judge_view(creative, _PICTURE_SIDE), folder / PICTURES / f"{name}.png")
            captions.append({"product_id": product.product_id, "image": f"{PICTURES}/{name}.png", "caption": caption(spec)})
        log = click_log(judge, products, creatives, ids, _IMPRESSIONS, seed + 7919 * number)
        logs.append(_described(log, product))
        on_product()
    picture, log_path = folder / "world.png", folder / "clicks.parquet"
    rows = [tiles[k : k + _COLUMNS] for k in range(0, len(tiles), _COLUMNS)]
    Image.fromarray(contact_sheet(rows, caption_lines=CAPTION_LINES)).save(picture)
    pq.write_table(pa.concat_tables(logs), log_path)
    tables = _write_tables(folder, source.products, captions)
    return [picture, log_path, *tables, folder / PICTURES, folder / PHOTOS]


def _write_tables(folder: Path, products: Sequence[Product], captions: list[dict[str, str]]) -> list[Path]:
    catalog = [
        {"product_id": p.product_id, "title": p.title, "category": p.category, "description": p.description, "image": _photo(p)}
        for p in products
    ]
    tables = {folder / CATALOG: catalog, folder / CAPTIONS: captions}
    for path, content in tables.items():
        pacsv.write_csv(pa.Table.from_pylist(content), path)
    return list(tables)


def _photo(product: Product) -> str:
    return f"{PHOTOS}/{product.product_id}.png"


def tile_caption(title: str, spec: SceneSpec, judged: Judgement) -> str:
    """The words under a picture: what it earns first, then what is in it."""
    return f"CTR {judged.ctr:.2%}, relevance {judged.relevance:.2f}. {title}: {caption(spec)}"


def _described(log: pa.Table, product: Product) -> pa.Table:
    log = log.append_column("image", pa.array([f"{PICTURES}/{name}.png" for name in log["creative_id"].to_pylist()]))
    log = log.append_column("title", pa.array([product.title] * log.num_rows))
    described: pa.Table = log.append_column("category", pa.array([product.category] * log.num_rows))
    return described
