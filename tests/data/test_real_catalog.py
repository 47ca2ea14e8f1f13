"""The system on photos that nobody on the project made. Skipped where they are absent."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from caig_rl.config.schema import CatalogConfig, ImagingConfig
from caig_rl.data.catalog import FileCatalog, load_catalog
from caig_rl.imaging.composition import compose, exact_mask, product_difference
from caig_rl.imaging.placement import place
from caig_rl.imaging.usability import check_usability

CATALOG = Path(__file__).parents[3] / "shared" / "data" / "catalog" / "products.csv"
pytestmark = pytest.mark.skipif(not CATALOG.exists(), reason="no ../shared/data/catalog beside the repository")


@pytest.fixture(scope="module")
def catalog() -> FileCatalog:
    return load_catalog(CatalogConfig(path=str(CATALOG)))


def test_all_152_rows_are_accounted_for(catalog: FileCatalog, record_property: pytest.RecordProperty) -> None:
    record_property("accepted", len(catalog.products))
    record_property("rejected", dict(Counter(row.reason for row in catalog.rejected)))
    assert len(catalog.products) + len(catalog.rejected) == 152
    assert len(catalog.products) >= 145
    assert {row.reason for row in catalog.rejected} <= {"low_cutout_confidence", "no_product_found"}


def test_product_pixels_are_exact_in_every_creative_and_ordinary_scenes_pass_the_gate(catalog: FileCatalog) -> None:
    config = ImagingConfig()
    wall = np.full((64, 64, 3), (205, 190, 170), dtype=np.uint8)
    wall[40:] = (130, 95, 60)
    refused = []
    for product, cutout in zip(catalog.products, catalog.cutouts([p.product_id for p in catalog.products]), strict=True):
        assert max(cutout.rgba.shape[:2]) <= 512
        placed = place(cutout, config, config.size)
        creative = compose(wall, placed)
        assert exact_mask(placed, config.erode_px).any(), product.product_id
        assert product_difference(creative, placed, config.erode_px) == 0
        if not check_usability(creative, placed, config).usable:
            refused.append(product.product_id)
    assert refused == []
