"""`gallery.png`: the same held-out products under every arm, one row an arm."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from caig_rl.ablation.cells import Cell, Plan
from caig_rl.ablation.records import CellRecord
from caig_rl.reports.contact_sheet import Tile, contact_sheet
from caig_rl.reports.run_report_text import percent
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.gallery import GalleryEntry, GallerySide, read_gallery
from caig_rl.types import ImageArray

GALLERY_FILE = "gallery.png"
PRODUCTS = 6
"""Columns."""
TILE_PX = 150


def write_contact_sheet(plan: Plan, records: Sequence[CellRecord]) -> str | None:
    """Write the sheet of the main world's arms, of the first seed that most of them have finished; returns its address, None where no cell
    has pictures."""
    cells = _shown_cells(plan, records)
    galleries = {cell.name: {entry.product_id: entry for entry in read_gallery(plan.cell_folder(cell.name))} for cell in cells}
    cells = [cell for cell in cells if galleries[cell.name]]
    if not cells:
        return None
    first = galleries[cells[0].name]
    shared = [name for name in first if all(name in galleries[cell.name] for cell in cells)][:PRODUCTS]
    if not shared:
        return None
    folder = plan.cell_folder(cells[0].name)
    rows = [[_tile(folder, first[name].before, f"untrained · {first[name].title}") for name in shared]]
    for cell in cells:
        entries = galleries[cell.name]
        rows.append([_tile(plan.cell_folder(cell.name), entries[name].after, cell.arm.name) for name in shared])
    buffer = io.BytesIO()
    Image.fromarray(contact_sheet(rows, tile_px=TILE_PX, font_px=11, caption_lines=3)).save(buffer, "PNG")
    return plan.folder.write_bytes(GALLERY_FILE, buffer.getvalue())


def copy_pictures(source: RunFolder, target: RunFolder, names: Sequence[str]) -> None:
    """Samples of one run folder into another's."""
    for name in names:
        target.write_bytes(f"samples/{name}", source.read_bytes(f"samples/{name}"))


def entries_of(before: dict[str, GallerySide], after: dict[str, GallerySide], titles: dict[str, tuple[str, str]]) -> list[GalleryEntry]:
    """Gallery of the products that both sides show. `titles`: title and category by product id, in the order wanted."""
    return [
        GalleryEntry(product_id=name, title=title, category=category, before=before[name], after=after[name])
        for name, (title, category) in titles.items()
        if name in before and name in after
    ]


def _shown_cells(plan: Plan, records: Sequence[CellRecord]) -> list[Cell]:
    done = {(record.row.arm, record.row.seed) for record in records if plan.world_of(record.row.arm) == plan.main_world}
    seeds = sorted(plan.ablation.seeds, key=lambda seed: -sum(found == seed for _, found in done))
    order = [arm.name for arm in plan.ablation.arms]
    shown = [cell for cell in plan.every_cell if cell.seed == seeds[0] and (cell.arm.name, cell.seed) in done]
    return sorted(shown, key=lambda cell: order.index(cell.arm.name))


def _tile(folder: RunFolder, side: GallerySide, who: str) -> Tile:
    ctr = "" if side.ctr is None else f" · CTR {percent(side.ctr, 2)}"
    return Tile(_picture(folder, side.image), f"{who}{ctr}")


def _picture(folder: RunFolder, name: str) -> ImageArray:
    try:
        with Image.open(io.BytesIO(folder.read_bytes(f"samples/{name}"))) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError) as error:  # Pillow has both for a PNG that is none, or is cut short
        raise folder.damaged(f"samples/{name}", ValueError("no picture that can be opened")) from error
