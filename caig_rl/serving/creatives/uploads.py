"""What a client may send with a request for creatives: text within limits, and a picture that shows a product."""

from __future__ import annotations

import unicodedata

from caig_rl.config.schema import Config
from caig_rl.imaging.cutout import NoProductFound, make_cutout
from caig_rl.imaging.loading import ImageRefused, decode_rgba
from caig_rl.serving.problems import Problem, wrong_field
from caig_rl.types import Cutout

MAX_TITLE, MAX_CATEGORY, MAX_DESCRIPTION, MAX_ID = 300, 80, 2000, 128
"""Characters."""
_STATUS = {"image_too_large": 413, "image_unreadable": 415}
_MIB = 2**20


def checked_text(field: str, text: str, longest: int, *, required: bool = False) -> str:
    """`text` in NFC with its white space folded.

    Raises Problem (422) where it is longer than `longest` characters, holds control characters, or is empty though required.
    """
    folded = " ".join(unicodedata.normalize("NFC", text).split())
    if required and not folded:
        raise wrong_field(field, "must not be empty", "missing")
    if len(folded) > longest:
        raise wrong_field(field, f"{len(folded)} characters; at most {longest} are allowed", "too_long")
    return checked_plain(field, folded)


def checked_plain(field: str, text: str) -> str:
    """`text` as it stands. Raises Problem (422) where it holds control characters."""
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise wrong_field(field, "holds control characters; send plain text")
    return text


def checked_id(field: str, text: str) -> str:
    """An id that a client chose: 1 to 128 printable characters, compared as they stand.

    Raises Problem (422) otherwise.
    """
    if not 0 < len(text) <= MAX_ID or not text.isprintable():
        raise wrong_field(field, f"an id has 1 to {MAX_ID} printable characters")
    if {".", ".."} & set(text.split("/")):
        # Browsers, proxies and clients resolve such a path before they send it: the product could never be asked for.
        raise wrong_field(field, "an id has no '.' or '..' between slashes")
    return text


def checked_count(field: str, value: int, most: int) -> int:
    """A count from 1 to `most`. Raises Problem (422) otherwise."""
    if not 1 <= value <= most:
        raise wrong_field(field, f"{value} is not from 1 to {most}", "out_of_range")
    return value


def checked_cutout(data: bytes, config: Config, field: str = "image") -> Cutout:
    """The product in an uploaded picture.

    Raises Problem: 413 for too many bytes or pixels, 415 for what is no PNG, JPEG or WebP, 422 for a picture that is damaged or in
    which no product was found with enough confidence.
    """
    limits = config.serve.limits
    if len(data) > limits.max_image_mib * _MIB:
        detail = f"{field}: {len(data) / _MIB:.3g} MiB; at most {limits.max_image_mib:g} MiB (serve.limits.max_image_mib) are taken"
        raise Problem(413, "image_too_large", detail, field)
    try:
        rgba = decode_rgba(data, "the image", limits.max_pixels)
    except ImageRefused as error:
        detail = str(error).replace("catalog.max_pixels", "serve.limits.max_pixels")
        raise Problem(_STATUS.get(error.reason, 422), error.reason, f"{field}: {detail}", field) from error
    try:
        cutout = make_cutout(rgba, config.imaging.size)
    except NoProductFound as error:
        raise wrong_field(field, f"no product found ({error}); send a cut-out, or a photo on a plain ground", "no_product_found") from error
    if cutout.confidence < config.catalog.min_cutout_confidence:
        raise wrong_field(
            field,
            f"the product is cut out with confidence {cutout.confidence:.2f}, below {config.catalog.min_cutout_confidence:.2f}; "
            "send a cut-out, or a photo on a plainer ground",
            "low_cutout_confidence",
        )
    return cutout
