"""Requests are refused with a problem document that names the field."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from caig_rl.config.schema import Config
from caig_rl.serving.creatives.uploads import checked_count, checked_cutout, checked_id, checked_text
from caig_rl.serving.problems import Problem

CONFIG = Config.model_validate({"imaging": {"size": 128}})


def png(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


def photo() -> np.ndarray:
    picture = np.full((120, 120, 3), 250, np.uint8)
    picture[30:90, 40:80] = (160, 20, 40)
    return picture


def bomb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def refusal(data: bytes, config: Config = CONFIG) -> Problem:
    with pytest.raises(Problem) as caught:
        checked_cutout(data, config)
    return caught.value


def test_a_photo_on_a_plain_ground_gives_its_product():
    assert checked_cutout(png(photo()), CONFIG).confidence > 0.35


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"%PDF-1.7 no image", 415, "image_unreadable"),
        (b"", 422, "image_empty"),
        (png(photo())[:200], 422, "image_truncated"),
        (bomb(), 413, "image_too_large"),
        (png(np.random.default_rng(0).integers(0, 255, (120, 120, 3), dtype=np.uint8)), 422, "no_product_found"),
        (png(np.full((120, 120, 3), 250, np.uint8)), 422, "no_product_found"),
    ],
)
def test_each_bad_picture_is_refused_by_its_own_code_and_names_the_field(data: bytes, status: int, code: str):
    problem = refusal(data)
    assert (problem.status, problem.code, problem.document()["field"]) == (status, code, "image")


def test_a_file_of_too_many_bytes_is_refused_before_it_is_opened():
    small = CONFIG.model_copy(
        update={"serve": CONFIG.serve.model_copy(update={"limits": CONFIG.serve.limits.model_copy(update={"max_image_mib": 1e-4})})}
    )
    assert refusal(png(photo()), small).status == 413


def test_text_is_folded_and_too_long_empty_or_control_characters_are_refused():
    assert checked_text("title", "  red \n mug ", 20) == "red mug"
    for text, required in (("x" * 21, False), ("", True), ("a\x00b", False), ("\ud800", False)):
        with pytest.raises(Problem, match="title") as caught:
            checked_text("title", text, 20, required=required)
        assert caught.value.field == "title"


@pytest.mark.parametrize("value", [-1, 0, 9])
def test_a_count_out_of_range_names_the_range(value: int):
    with pytest.raises(Problem, match="1 to 8") as caught:
        checked_count("candidates", value, 8)
    assert caught.value.document()["field"] == "candidates"


@pytest.mark.parametrize("text", ["", "x" * 129, "a\nb", ".", "sku/../7", "sku/."])
def test_an_id_has_printable_characters_and_no_part_that_clients_resolve_away(text: str):
    with pytest.raises(Problem):
        checked_id("product_id", text)
    assert checked_id("product_id", "sku/..7/...") == "sku/..7/..."
