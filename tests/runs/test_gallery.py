from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from caig_rl.runs.folder import RunFolder
from caig_rl.runs.gallery import GalleryEntry, GallerySide, picture_data_uri, read_gallery, write_gallery

SIDE = GallerySide(image="p1-before.png", prompt="oak", ctr=None, relevance=None, score=-3.0)


def test_a_gallery_reads_back_as_written(run_folder: RunFolder) -> None:
    entry = GalleryEntry(product_id="p1", title="Lamp", category="lighting", before=SIDE, after=SIDE)
    assert write_gallery(run_folder, [entry]) == run_folder.path("samples/gallery.json")
    assert read_gallery(run_folder) == (entry,)


def test_a_run_without_a_gallery_has_an_empty_one(run_folder: RunFolder) -> None:
    assert read_gallery(run_folder) == ()


@pytest.mark.parametrize("image", ["../secret.png", "/etc/passwd", "a/b.png", "picture.svg"])
def test_a_gallery_cannot_point_outside_the_samples(image: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        GallerySide.model_validate(SIDE.model_dump() | {"image": image})


def test_pictures_travel_small(run_folder: RunFolder) -> None:
    run_folder.save_sample("p1-before", np.full((512, 256, 3), 90, np.uint8))
    uri = picture_data_uri(run_folder, "p1-before.png", side=100)
    assert uri.startswith("data:image/jpeg;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size == (50, 100)
