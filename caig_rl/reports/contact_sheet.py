"""A contact sheet: rows of pictures with captions, for samples and for the pictures of the README."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from caig_rl.types import ImageArray

_PAPER, _INK = (255, 255, 255), (34, 39, 47)


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture, (height, width, 3 or 4), and the words under it. Where it is transparent, the paper shows."""

    image: ImageArray
    caption: str = ""


def contact_sheet(
    rows: Sequence[Sequence[Tile]], tile_px: int = 256, gap_px: int = 12, font_px: int = 14, caption_lines: int = 4
) -> ImageArray:
    """Rows of tiles on white, (height, width, 3). Each picture is fitted into `tile_px` squared, its caption wrapped under it.

    A row is as high as its longest caption needs; one of more than `caption_lines` lines is cut with an ellipsis.
    Raises ValueError where there is no tile.
    """
    if not rows or not all(rows):
        raise ValueError(f"a contact sheet needs at least one tile in every row, not {[len(row) for row in rows]}")
    font = _font(font_px)
    line_px = round(font_px * 1.35)
    captions = [[_wrap(tile.caption, font, tile_px, caption_lines) for tile in row] for row in rows]
    heights = [tile_px + line_px * max(len(lines) for lines in row) + gap_px for row in captions]
    width = gap_px + max(len(row) for row in rows) * (tile_px + gap_px)
    sheet = Image.new("RGB", (width, gap_px + sum(heights)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    top = gap_px
    for row, lines, height in zip(rows, captions, heights, strict=True):
        for column, (tile, words) in enumerate(zip(row, lines, strict=True)):
            left = gap_px + column * (tile_px + gap_px)
            sheet.paste(_fit(tile.image, tile_px), (left, top))
            for number, line in enumerate(words):
                draw.text((left, top + tile_px + 3 + number * line_px), line, fill=_INK, font=font)
        top += height
    return np.asarray(sheet)


def _font(font_px: int) -> ImageFont.FreeTypeFont:
    # matplotlib ships DejaVu Sans, whose letters cover more languages than Pillow's own font.
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", font_px)


def _wrap(caption: str, font: ImageFont.FreeTypeFont, width_px: int, max_lines: int) -> list[str]:
    columns = max(4, int(width_px / font.getlength("abcdefghijklmnopqrstuvwxyz ") * 27))
    return textwrap.wrap(caption, columns, max_lines=max_lines, placeholder=" \u2026")


def _fit(image: ImageArray, side: int) -> Image.Image:
    paper = Image.new("RGB", (side, side), _PAPER)
    picture = ImageOps.contain(Image.fromarray(image).convert("RGBA"), (side, side), Image.Resampling.LANCZOS)
    paper.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2), picture)
    return paper
