"""Makes docs/before_after.png from a run's gallery: `python benchmarks/readme_picture.py runs/demo`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from caig_rl.reports.contact_sheet import Tile, contact_sheet

PAIRS_PER_ROW = 3


def main() -> None:
    """Two tiles a product, before and after, with prompt and true CTR."""
    run = Path(sys.argv[1])
    entries = json.loads((run / "samples" / "gallery.json").read_text(encoding="utf-8"))
    entries = entries["entries"] if isinstance(entries, dict) else entries
    tiles = []
    for entry in entries[: 2 * PAIRS_PER_ROW]:
        for side in ("before", "after"):
            one = entry[side]
            picture = np.asarray(Image.open(run / "samples" / one["image"]).convert("RGB"))
            tiles.append(Tile(picture, f"{side}, CTR {one['ctr']:.2%}: {one['prompt']}"))
    rows = [tiles[k : k + 2 * PAIRS_PER_ROW] for k in range(0, len(tiles), 2 * PAIRS_PER_ROW)]
    Image.fromarray(contact_sheet(rows, tile_px=220, font_px=12)).save("docs/before_after.png", optimize=True)
    print("wrote docs/before_after.png")


if __name__ == "__main__":
    main()
