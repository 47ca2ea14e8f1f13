from __future__ import annotations

import numpy as np
import pytest

from caig_rl.imaging.masking import mask_patches


def count_black_patches(image: np.ndarray, patch: int) -> int:
    rows, columns = -(-image.shape[0] // patch), -(-image.shape[1] // patch)
    return sum(not image[r * patch : (r + 1) * patch, c * patch : (c + 1) * patch].any() for r in range(rows) for c in range(columns))


@pytest.mark.parametrize("side, patch, num_patches", [(64, 8, 64), (800, 32, 625), (100, 8, 169), (512, 20, 676)])
def test_exactly_the_rounded_share_of_patches_is_black(side: int, patch: int, num_patches: int) -> None:
    white = np.full((side, side, 3), 255, dtype=np.uint8)
    masked = mask_patches(white, seed=3)
    assert count_black_patches(masked, patch) == round(0.75 * num_patches)
    assert set(np.unique(masked)) == {0, 255}


def test_the_seed_chooses_the_patches_and_the_image_itself_is_untouched() -> None:
    white = np.full((64, 64, 3), 255, dtype=np.uint8)
    np.testing.assert_array_equal(mask_patches(white, seed=1), mask_patches(white, seed=1))
    assert (mask_patches(white, seed=1) != mask_patches(white, seed=2)).any()
    assert white.min() == 255


def test_a_share_outside_0_to_1_is_refused_with_its_value() -> None:
    with pytest.raises(ValueError, match=r"1\.5"):
        mask_patches(np.zeros((64, 64, 3), dtype=np.uint8), seed=0, share=1.5)
