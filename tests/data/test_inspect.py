from __future__ import annotations

from pathlib import Path

import numpy as np

from caig_rl.config.schema import CatalogConfig
from caig_rl.data.catalog import load_catalog
from caig_rl.data.inspect import RejectionSummary, inspect_catalog
from tests.imaging.pictures import box_cutout, disc_photo, save


def test_the_summary_counts_categories_rejections_and_methods(tmp_path: Path) -> None:
    save(disc_photo(), tmp_path / "discs" / "one.png")
    save(disc_photo(radius=30), tmp_path / "discs" / "two.png")
    save(np.pad(box_cutout().rgba, ((20, 20), (20, 20), (0, 0))), tmp_path / "boxes" / "box.png")
    for number in range(5):
        (tmp_path / f"empty{number}.png").touch()
    catalog = load_catalog(CatalogConfig(path=str(tmp_path)))
    summary = inspect_catalog(catalog)
    assert summary.num_products == 3
    assert summary.categories == {"discs": 2, "boxes": 1}
    assert summary.methods == {"plain_ground": 2, "alpha": 1}
    assert summary.rejected == {"image_empty": RejectionSummary(5, tuple(row.message for row in catalog.rejected[:3]))}
    confidences = [cutout.confidence for cutout in catalog.cutouts(["discs/one.png", "discs/two.png"])]
    assert (summary.confidence[0.0], summary.confidence[1.0]) == (min(confidences), max(confidences))
    assert summary.confidence[0.5] == np.mean(confidences)


def test_a_catalog_of_cutouts_has_no_confidence_to_report(tmp_path: Path) -> None:
    save(np.pad(box_cutout().rgba, ((20, 20), (20, 20), (0, 0))), tmp_path / "box.png")
    assert inspect_catalog(load_catalog(CatalogConfig(path=str(tmp_path)))).confidence == {}
