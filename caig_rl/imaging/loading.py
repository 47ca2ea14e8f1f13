"""Opens any image a merchant may bring, safely: judged by its header before it is decoded, turned upright, as RGBA."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from caig_rl.types import ImageArray

FORMATS = ("PNG", "JPEG", "WEBP")
"""The formats that are read. The file's first bytes decide, not its name."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""File names that count as images in a folder, compared in lower case."""
_SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_DECODING_FAULTS = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


class ImageRefused(Exception):
    """An image that cannot be used."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        """A short code, for counting: image_missing, image_empty, image_truncated, image_zero_size, image_too_large, image_unreadable."""


def load_rgba(path: Path, max_pixels: int) -> ImageArray:
    """Read the image file at `path`; see `decode_rgba`.

    Raises ImageRefused for a file that is missing, and for what `decode_rgba` refuses.
    """
    if not path.is_file():
        raise ImageRefused("image_missing", f"there is no file {path.name}")
    return decode_rgba(path.read_bytes(), path.name, max_pixels)


def decode_rgba(data: bytes, name: str, max_pixels: int) -> ImageArray:
    """Decode an image file's content as (height, width, 4) uint8 sRGB with straight alpha.

    PNG, JPEG and WebP of any mode: CMYK, 16 bits a channel (scaled to 8), grey, palette with transparency; of an animation the
    first frame; turned upright by its EXIF orientation. `name` is what messages call it.

    Raises ImageRefused for content that is empty, of zero size, cut short, of more than `max_pixels` pixels, or no image.
    """
    if not data:
        raise ImageRefused("image_empty", f"{name} holds 0 bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise _unidentified(data, name) from error
    except _DECODING_FAULTS as error:
        raise _undecodable(data, name, error, max_pixels) from error
    with image:
        _check_size(name, image.width, image.height, max_pixels)
        try:
            image.load()
            upright = ImageOps.exif_transpose(image)
        except _DECODING_FAULTS as error:
            raise _undecodable(data, name, error, max_pixels) from error
        return _to_rgba(upright)


def over_white(rgba: ImageArray) -> ImageArray:
    """(height, width, 3): the picture over white. Dropping alpha instead would show what hides under it."""
    alpha = rgba[..., 3:].astype(np.float32) / 255.0
    return np.rint(rgba[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)


def _check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    if width == 0 or height == 0:
        raise ImageRefused("image_zero_size", f"{name} is {width} x {height} pixels")
    if width * height > max_pixels:
        raise ImageRefused(
            "image_too_large", f"{name} is {width} x {height} pixels; at most {max_pixels:,} are decoded (catalog.max_pixels); shrink it"
        )


def _unidentified(data: bytes, name: str) -> ImageRefused:
    """Pillow refuses headers of zero size and headers cut short alike, as unidentified: look again, so that the message is right."""
    head = data[:32]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        if len(head) < 24:
            return ImageRefused("image_truncated", f"{name} ends within its header")
        width, height = struct.unpack(">II", head[16:24])
        if width == 0 or height == 0:
            return ImageRefused("image_zero_size", f"{name} is {width} x {height} pixels")
        return ImageRefused("image_truncated", f"{name} has a damaged header, or ends within it")
    if head.startswith(b"\xff\xd8\xff") or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return ImageRefused("image_truncated", f"{name} has a damaged header, or ends within it")
    return ImageRefused("image_unreadable", f"{name} is no {', '.join(FORMATS)} image")


def _undecodable(data: bytes, name: str, error: Exception, max_pixels: int) -> ImageRefused:
    if isinstance(error, Image.DecompressionBombError):
        # Pillow stops by itself at twice its own limit, before our check sees the size.
        most = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))
        return ImageRefused("image_too_large", f"{name} has more pixels than the {most:,} that are decoded (catalog.max_pixels); shrink it")
    said = str(error).lower()
    if _ends_early(data) or any(word in said for word in ("truncated", "unexpected end", "not enough", "broken data", "incomplete")):
        return ImageRefused("image_truncated", f"{name} is cut short ({error}); export or upload it again")
    return ImageRefused("image_unreadable", f"{name} cannot be decoded ({error})")


def _ends_early(data: bytes) -> bool:
    """Is this a WebP file shorter than its header says? Its decoder does not tell why it gave up."""
    head = data[:12]
    return len(head) == 12 and head[:4] == b"RIFF" and len(data) < 8 + struct.unpack("<I", head[4:8])[0]


def _to_rgba(image: Image.Image) -> ImageArray:
    if image.mode in _SIXTEEN_BIT:
        # Pillow's convert("L") clips 16-bit values at 255 instead of scaling them.
        grey = np.clip(np.asarray(image, dtype=np.int64) // 257, 0, 255).astype(np.uint8)
        return np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    return np.asarray(image.convert("RGBA"), dtype=np.uint8)
