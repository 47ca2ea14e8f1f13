from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caig_rl.imaging.loading import ImageRefused, decode_rgba, load_rgba, over_white
from tests.imaging.pictures import disc_photo, png_header, save

MAX_PIXELS = 1_000_000


def reason_for(path: Path, max_pixels: int = MAX_PIXELS) -> str:
    with pytest.raises(ImageRefused) as refused:
        load_rgba(path, max_pixels)
    assert path.name in str(refused.value)
    return refused.value.reason


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_an_image_with_alpha_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    photo = disc_photo()
    photo[:20, :, 3] = 0
    Image.fromarray(photo).save(tmp_path / f"disc{suffix}", **({"lossless": True, "exact": True} if suffix == ".webp" else {}))
    np.testing.assert_array_equal(load_rgba(tmp_path / f"disc{suffix}", MAX_PIXELS), photo)


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (200, 30, 40)).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    loaded = load_rgba(tmp_path / "cmyk.jpg", MAX_PIXELS)
    assert loaded.shape == (32, 32, 4)
    np.testing.assert_allclose(loaded[16, 16], (200, 30, 40, 255), atol=6)


def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 128 * 257, dtype=np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(load_rgba(tmp_path / "deep.png", MAX_PIXELS)[4, 4], (128, 128, 128, 255))


def test_a_palette_with_a_transparent_entry_becomes_alpha(tmp_path: Path) -> None:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((3, 4), 1)
    image.save(tmp_path / "palette.png", transparency=0)
    loaded = load_rgba(tmp_path / "palette.png", MAX_PIXELS)
    assert loaded[0, 0, 3] == 0
    np.testing.assert_array_equal(loaded[4, 3], (200, 100, 50, 255))


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    frames[0].save(tmp_path / f"moving{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_allclose(load_rgba(tmp_path / f"moving{suffix}", MAX_PIXELS)[8, 8], (255, 0, 0, 255), atol=2)


def test_exif_orientation_turns_the_image_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    loaded = load_rgba(tmp_path / "turned.jpg", MAX_PIXELS)
    assert loaded.shape == (40, 20, 4)
    assert loaded[5, 10, 0] > 240
    assert loaded[35, 10, 0] < 15


def test_a_missing_file_and_a_folder_are_image_missing(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    assert reason_for(tmp_path / "nowhere.png") == "image_missing"
    assert reason_for(tmp_path / "folder.png") == "image_missing"


def test_an_empty_file_is_image_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert reason_for(tmp_path / "empty.png") == "image_empty"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_file_cut_short_is_image_truncated(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 4), dtype=np.uint8)
    path = save(noise, tmp_path / f"cut{suffix}")
    path.write_bytes(path.read_bytes()[: max(16, int(share * path.stat().st_size))])
    assert reason_for(path) == "image_truncated"


def test_an_image_of_no_height_is_image_zero_size(tmp_path: Path) -> None:
    (tmp_path / "flat.png").write_bytes(png_header(10, 0))
    assert reason_for(tmp_path / "flat.png") == "image_zero_size"


@pytest.mark.parametrize("side", [1_001, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(side, side))
    assert reason_for(tmp_path / "bomb.png") == "image_too_large"


@pytest.mark.parametrize("side", [1_001, 60_000])
def test_a_bomb_is_told_the_limit_that_holds_and_what_to_do(side: int) -> None:
    with pytest.raises(ImageRefused, match=r"1,000,000 (that )?are decoded \(catalog\.max_pixels\); shrink it"):
        decode_rgba(png_header(side, side), "bomb.png", MAX_PIXELS)


@pytest.mark.parametrize("content", [b"<html>not an image</html>", b"GIF89a" + bytes(40), bytes(100)])
def test_anything_but_an_image_is_image_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "page.png").write_bytes(content)
    assert reason_for(tmp_path / "page.png") == "image_unreadable"


def test_a_png_with_a_damaged_body_is_refused(tmp_path: Path) -> None:
    path = save(disc_photo(), tmp_path / "damaged.png")
    content = bytearray(path.read_bytes())
    content[60:80] = bytes(20)
    path.write_bytes(content)
    assert reason_for(path) in ("image_unreadable", "image_truncated")


def test_bytes_are_read_as_their_file_would_be(tmp_path: Path) -> None:
    Image.fromarray(np.full((5, 6, 4), (10, 20, 30, 128), np.uint8)).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    assert np.array_equal(decode_rgba(content, "x.png", 100), load_rgba(tmp_path / "x.png", 100))
    with pytest.raises(ImageRefused):
        decode_rgba(content[:40], "x.png", 100)


def test_what_hides_under_full_transparency_is_not_shown() -> None:
    rgba = np.array([[[200, 0, 0, 0], [200, 0, 0, 255]]], np.uint8)
    assert over_white(rgba).tolist() == [[[255, 255, 255], [200, 0, 0]]]
