"""Logged creatives on disk, some products a file: a draw that was cut short goes on after its last whole file.

FOLDER/products-000000.parquet    the creatives of products 0 to 19 of the world's split "reward", and so on
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from caig_rl.config.schema import Config
from caig_rl.data.clicks.groups import decode_png, encode_png
from caig_rl.nano.autoencoder import Progress
from caig_rl.nano.reward import LoggedCreatives, creative_drawing
from caig_rl.world.products import WorldProducts, unseen_categories

SPLIT = "reward"
"""Of the world's products: those that no run trains on or is measured on. The shipped reward model learned from this world's, too."""
PART_PRODUCTS = 20
"""Products a file: what is drawn again at most, some half a minute on two CPU cores with the embedded models."""


def missing_parts(folder: Path, num_products: int) -> list[int]:
    """Number of the first product of each file that is not there yet, of those that hold the first `num_products`."""
    return [start for start in range(0, num_products, PART_PRODUCTS) if not _part_file(folder, start).is_file()]


def draw_parts(
    folder: Path, policy: Path, pipeline: Path, config: Config, num_products: int, candidates: int, threads: int, progress: Progress
) -> None:
    """Draw the files that are missing; files are whole, so up to 19 products more. Arguments as `draw_creatives` has them."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = missing_parts(folder, num_products)
    upto = -(-num_products // PART_PRODUCTS) * PART_PRODUCTS
    with creative_drawing(policy, pipeline, config, SPLIT, upto, candidates, threads) as drawing:
        for start in missing:
            write_part(folder, start, drawing.draw(range(start, start + PART_PRODUCTS), progress))


def write_part(folder: Path, start: int, creatives: LoggedCreatives) -> None:
    """Write the file of the products from number `start` on, whole or not at all."""
    columns = {
        "product_id": [product.product_id for product in creatives.products],
        "prompt": creatives.prompts,
        "view": [encode_png(view) for view in creatives.views],
    }
    file = _part_file(folder, start)
    partial = file.with_suffix(".partial")
    pq.write_table(pa.table(columns), partial)
    partial.replace(file)


def read_parts(folder: Path, config: Config, num_products: int) -> LoggedCreatives:
    """The creatives of the first `num_products` products of the world that `config` names; their files must be there."""
    unseen = unseen_categories(config.world.seed, config.world.unseen_categories)
    products = {one.product_id: one for one in WorldProducts(config.world.seed, num_products, SPLIT, without=unseen).products}
    out = LoggedCreatives([], [], [])
    for start in range(0, num_products, PART_PRODUCTS):
        for row in pq.read_table(_part_file(folder, start)).to_pylist():
            if row["product_id"] in products:
                out.products.append(products[row["product_id"]])
                out.prompts.append(row["prompt"])
                out.views.append(decode_png(row["view"]))
    return out


def _part_file(folder: Path, start: int) -> Path:
    return folder / f"products-{start:06d}.parquet"
