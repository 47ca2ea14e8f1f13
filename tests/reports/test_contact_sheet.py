from __future__ import annotations

import numpy as np
import pytest

from caig_rl.reports.contact_sheet import Tile, contact_sheet
from caig_rl.types import ImageArray


def plain(colour: tuple[int, ...], height: int = 32, width: int = 32) -> ImageArray:
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, len(colour))).copy()


def test_the_sheet_has_room_for_rows_columns_and_gaps() -> None:
    sheet = contact_sheet([[Tile(plain((9, 9, 9)))] * 3, [Tile(plain((9, 9, 9)))]], tile_px=32, gap_px=4)
    assert sheet.shape == (4 + 2 * 36, 4 + 3 * 36, 3)


def test_a_picture_of_the_tiles_size_keeps_its_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    sheet = contact_sheet([[Tile(plain((1, 1, 1))), Tile(image)]], tile_px=32, gap_px=4)
    assert np.array_equal(sheet[4:36, 40:72], image)


def test_a_picture_that_is_not_square_keeps_its_shape_in_the_middle() -> None:
    sheet = contact_sheet([[Tile(plain((200, 0, 0), height=16, width=32))]], tile_px=32, gap_px=0)
    assert np.array_equal(np.all(sheet == (200, 0, 0), axis=(1, 2)), [False] * 8 + [True] * 16 + [False] * 8)


def test_paper_shows_where_a_picture_is_transparent() -> None:
    assert np.all(contact_sheet([[Tile(plain((200, 0, 0, 0)))]], tile_px=32, gap_px=0) == 255)


def test_a_caption_is_written_below_its_picture_and_wrapped() -> None:
    one = contact_sheet([[Tile(plain((255, 255, 255)), "oak")]], tile_px=96, gap_px=0)
    two = contact_sheet([[Tile(plain((255, 255, 255)), "an oak table by a window in the morning")]], tile_px=96, gap_px=0)
    assert one.shape[0] > 96 and np.all(one[:96] == 255) and np.any(one[96:] < 128)
    assert two.shape[0] > one.shape[0]


def test_a_long_caption_is_cut_at_the_given_lines() -> None:
    sheet = contact_sheet([[Tile(plain((0, 0, 0)), "word " * 500)]], tile_px=96, gap_px=0, font_px=10, caption_lines=2)
    assert sheet.shape[0] == 96 + 2 * 14


@pytest.mark.parametrize("rows", [[], [[]]])
def test_a_sheet_without_tiles_is_refused(rows: list[list[Tile]]) -> None:
    with pytest.raises(ValueError, match="at least one tile"):
        contact_sheet(rows)
