from __future__ import annotations

from pathlib import Path

import numpy as np

from caig_rl.config.schema import CatalogConfig
from caig_rl.data.catalog import load_catalog
from caig_rl.data.inspect import ReasonSummary, inspect_catalog
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
    assert summary.rejected == {"image_empty": ReasonSummary(5, tuple(row.message for row in catalog.rejected))}
    confidences = [cutout.confidence for cutout in catalog.cutouts(["discs/one.png", "discs/two.png"])]
    assert (summary.confidence[0.0], summary.confidence[1.0]) == (min(confidences), max(confidences))
    assert summary.confidence[0.5] == np.mean(confidences)
    assert [one.confidence for one in summary.made] == sorted(confidences)
    assert {one.product_id: one.source for one in summary.made} == {
        name: f"{tmp_path.name}/{name}" for name in ("discs/one.png", "discs/two.png")
    }


def test_the_held_out_part_is_counted_by_category(tmp_path: Path) -> None:
    for name in ("mugs/one", "mugs/two", "lamps/three"):
        save(disc_photo(), tmp_path / f"{name}.png")
    catalog = load_catalog(CatalogConfig(path=str(tmp_path)))
    assert inspect_catalog(catalog).held_out == {}
    held_out = [product for product in catalog.products if product.product_id != "mugs/two.png"]
    assert inspect_catalog(catalog, held_out=held_out).held_out == {"mugs": 1, "lamps": 1}


def test_what_was_changed_without_costing_a_row_is_counted_by_reason(tmp_path: Path) -> None:
    save(disc_photo(), tmp_path / "disc.png")
    rows = "".join(f"{'long ' * 100}{number},disc.png,1\n" for number in range(2))
    (tmp_path / "products.csv").write_text(f"title,image,price\n{rows}")
    catalog = load_catalog(CatalogConfig(path=str(tmp_path / "products.csv")))
    summary = inspect_catalog(catalog, catalog.notes)
    assert {reason: one.count for reason, one in summary.notes.items()} == {"title_shortened": 2, "columns_not_read": 1}
    assert "row 2: title of 501 characters" in summary.notes["title_shortened"].messages[0]


def test_a_catalog_of_cutouts_has_no_confidence_to_report(tmp_path: Path) -> None:
    save(np.pad(box_cutout().rgba, ((20, 20), (20, 20), (0, 0))), tmp_path / "box.png")
    assert inspect_catalog(load_catalog(CatalogConfig(path=str(tmp_path)))).confidence == {}
