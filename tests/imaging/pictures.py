"""Pictures with known answers, for the tests of imaging and catalog."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from caig_rl.types import Cutout, ImageArray


def disc_photo(size: int = 128, radius: int = 40, colour: tuple[int, int, int] = (180, 40, 30), ground: int = 235) -> ImageArray:
    """A disc in the middle of a plain ground, opaque: (size, size, 4)."""
    photo = np.full((size, size, 4), (ground, ground, ground, 255), dtype=np.uint8)
    cv2.circle(photo, (size // 2, size // 2), radius, (*colour, 255), thickness=-1, lineType=cv2.LINE_AA)
    return photo


def box_cutout(width: int = 40, height: int = 60, colour: tuple[int, int, int] = (180, 40, 30)) -> Cutout:
    """A box of `width` x `height` in one colour with a transparent margin of 2 px."""
    rgba = np.zeros((height + 4, width + 4, 4), dtype=np.uint8)
    rgba[2:-2, 2:-2] = (*colour, 255)
    return Cutout(rgba=rgba, confidence=1.0, method="alpha")


def textured_cutout(side: int = 80, seed: int = 0) -> Cutout:
    """A disc of random pixels, with a soft edge, over hidden colour under alpha 0."""
    rgba = np.random.default_rng(seed).integers(0, 256, (side, side, 4), dtype=np.uint8)
    alpha = np.zeros((side, side), dtype=np.uint8)
    cv2.circle(alpha, (side // 2, side // 2), side // 2 - 4, 255, thickness=-1)
    rgba[..., 3] = cv2.GaussianBlur(alpha, (0, 0), 1.0)
    return Cutout(rgba=rgba, confidence=1.0, method="alpha")


def save(image: ImageArray, path: Path) -> Path:
    """Write an image in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = "RGB" if path.suffix in (".jpg", ".jpeg") else "RGBA"
    Image.fromarray(image).convert(mode).save(path)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds a single row's worth of nothing: a decompression bomb, or an image of zero size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0" * 10)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
