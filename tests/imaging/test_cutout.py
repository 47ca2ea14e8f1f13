from __future__ import annotations

import cv2
import numpy as np
import pytest

from caig_rl.imaging.cutout import NoProductFound, make_cutout
from caig_rl.imaging.ground import find_ground
from tests.imaging.pictures import disc_photo


def alpha_area(alpha: np.ndarray) -> float:
    return float(alpha.astype(np.float64).sum() / 255.0)


def test_real_transparency_is_taken_at_its_word_and_cropped_with_a_margin() -> None:
    rgba = np.full((100, 200, 4), (9, 9, 9, 0), dtype=np.uint8)
    rgba[20:50, 60:100] = (200, 100, 50, 255)
    cutout = make_cutout(rgba)
    assert (cutout.method, cutout.confidence) == ("alpha", 1.0)
    assert cutout.rgba.shape == (34, 44, 4)
    np.testing.assert_array_equal(cutout.rgba[2:-2, 2:-2], rgba[20:50, 60:100])
    assert cutout.rgba[:2, :, 3].max() == 0


def test_a_faint_shadow_under_a_cutout_does_not_count_as_its_foot() -> None:
    rgba = np.zeros((100, 100, 4), dtype=np.uint8)
    rgba[20:60, 30:70] = (200, 100, 50, 255)
    rgba[75:85, 20:80] = (0, 0, 0, 60)
    assert make_cutout(rgba).rgba.shape == (44, 44, 4)


def test_hidden_colour_does_not_bleed_into_the_edge_of_a_shrunk_cutout() -> None:
    rgba = np.full((1200, 1200, 4), (0, 255, 0, 0), dtype=np.uint8)
    rgba[100:1103, 97:1100] = (255, 0, 0, 255)
    cutout = make_cutout(rgba)
    assert max(cutout.rgba.shape[:2]) == 512
    assert cutout.rgba[cutout.rgba[..., 3] > 0][:, 1].max() == 0


def test_a_disc_on_a_plain_ground_is_found_within_a_pixel_of_its_rim() -> None:
    cutout = make_cutout(disc_photo(radius=40))
    assert cutout.method == "plain_ground"
    assert cutout.confidence > 0.8
    assert np.pi * 38.5**2 < alpha_area(cutout.rgba[..., 3]) < np.pi * 41**2


def test_the_edge_is_soft_and_carries_no_colour_of_the_ground() -> None:
    rgba = make_cutout(disc_photo(radius=40)).rgba
    edge = (rgba[..., 3] > 0) & (rgba[..., 3] < 255)
    assert edge.sum() > 100
    assert np.abs(rgba[edge][:, :3].astype(int) - (180, 40, 30)).max() < 20


def test_a_ground_that_grades_from_grey_to_white_is_still_plain() -> None:
    photo = disc_photo(size=256, radius=60)
    ramp = np.linspace(170, 250, 256)[None, :, None].repeat(256, axis=0).repeat(3, axis=2)
    weight = (disc_photo(size=256, radius=60, colour=(0, 0, 0), ground=255)[..., :3] / 255.0).astype(np.float64)
    photo[..., :3] = np.rint(ramp * weight + np.array([30, 60, 160]) * (1 - weight)).astype(np.uint8)
    assert np.pi * 58**2 < alpha_area(make_cutout(photo).rgba[..., 3]) < np.pi * 62**2


def test_a_white_product_on_a_near_white_ground_is_kept_whole() -> None:
    photo = np.full((256, 256, 4), (240, 240, 240, 255), dtype=np.uint8)
    cv2.rectangle(photo, (70, 90), (190, 200), (252, 252, 252, 255), thickness=-1)
    cv2.rectangle(photo, (70, 90), (190, 200), (170, 170, 170, 255), thickness=3)
    alpha = make_cutout(photo).rgba[..., 3]
    assert alpha_area(alpha) > 0.95 * 121 * 111


def test_ground_seen_through_a_handle_is_removed() -> None:
    photo = disc_photo(size=256, radius=90)
    cv2.circle(photo, (128, 128), 40, (235, 235, 235, 255), thickness=-1)
    mask = find_ground(photo[..., :3].copy()).mask
    assert mask[128, 128]
    assert not mask[128, 60]


def test_a_pale_product_that_is_drawn_in_a_thin_line_is_not_hollow() -> None:
    photo = np.full((300, 300, 4), 250, dtype=np.uint8)
    photo[..., 3] = 255
    cv2.rectangle(photo, (80, 60), (220, 250), (245, 245, 245, 255), thickness=-1)
    cv2.rectangle(photo, (80, 60), (220, 250), (90, 90, 90, 255), thickness=3)
    cutout = make_cutout(photo)
    assert (cutout.rgba[..., 3] > 128).mean() > 0.9


def test_a_frame_is_hollow() -> None:
    photo = np.full((300, 300, 4), 250, dtype=np.uint8)
    photo[..., 3] = 255
    cv2.rectangle(photo, (80, 60), (220, 250), (90, 60, 30, 255), thickness=9)
    assert (make_cutout(photo).rgba[..., 3] > 128).mean() < 0.3


def test_a_soft_shadow_is_not_part_of_the_product() -> None:
    photo = disc_photo(size=256, radius=50, ground=235)
    shadow = np.zeros((256, 256), dtype=np.float32)
    cv2.ellipse(shadow, (128, 215), (70, 12), 0, 0, 360, 40.0, thickness=-1)
    shaded = photo[..., :3] - cv2.GaussianBlur(shadow, (0, 0), 10)[..., None]
    photo[..., :3] = np.rint(shaded).astype(np.uint8)
    assert alpha_area(make_cutout(photo).rgba[..., 3]) < np.pi * 52**2


def test_an_image_of_ground_alone_has_no_product() -> None:
    with pytest.raises(NoProductFound, match="stands out"):
        make_cutout(np.full((128, 128, 4), (240, 240, 240, 255), dtype=np.uint8))


def test_an_image_that_is_too_narrow_to_be_read_is_named_by_its_own_size() -> None:
    with pytest.raises(NoProductFound, match="only 20 x 2000 pixels, shrunk to 5 x 512"):
        make_cutout(np.full((2000, 20, 4), 240, dtype=np.uint8) | np.array((0, 0, 0, 255), np.uint8))
    with pytest.raises(NoProductFound, match="only 15 x 64 pixels; at least 16"):
        make_cutout(np.full((64, 15, 4), 255, dtype=np.uint8))


def test_an_image_of_noise_has_no_plain_ground_or_earns_no_confidence() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 4), dtype=np.uint8)
    noise[..., 3] = 255
    with pytest.raises(NoProductFound, match="no plain ground"):
        make_cutout(noise)


def test_an_image_that_is_product_from_edge_to_edge_earns_no_confidence() -> None:
    grey = np.clip(np.random.default_rng(0).normal(128.0, 120.0, (500, 500, 1)), 0, 255).astype(np.uint8)
    rgba = np.concatenate([np.repeat(grey, 3, axis=2), np.full_like(grey, 255)], axis=2)
    assert make_cutout(rgba).confidence == 0.0


def test_an_image_that_is_transparent_everywhere_has_no_product() -> None:
    with pytest.raises(NoProductFound, match="transparent"):
        make_cutout(np.zeros((64, 64, 4), dtype=np.uint8))


def test_a_product_that_barely_differs_from_its_ground_earns_less_confidence() -> None:
    clear, faint = disc_photo(colour=(180, 40, 30)), disc_photo(colour=(212, 212, 204))
    assert make_cutout(faint).confidence < 0.6 * make_cutout(clear).confidence
