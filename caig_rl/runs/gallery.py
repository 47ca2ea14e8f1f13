"""The before/after gallery: `samples/gallery.json`, an index of pictures in `samples/` that the loop writes and the report shows."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from caig_rl.runs.folder import RunFolder

INDEX = "samples/gallery.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class GallerySide(_Part):
    """One creative of a product, by one policy."""

    image: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.png$")
    """File name inside `samples/`."""
    prompt: str
    ctr: float | None
    """True click-through rate; null where nobody judges."""
    relevance: float | None
    score: float
    """By the reward model, log-odds of a click."""


class GalleryEntry(_Part):
    """One product before and after."""

    product_id: str
    title: str
    category: str
    segment: str = ""
    """The segment of shoppers that the creatives are for; empty: everybody."""
    before: GallerySide
    after: GallerySide


_ENTRIES = TypeAdapter(tuple[GalleryEntry, ...])


def write_gallery(folder: RunFolder, entries: Sequence[GalleryEntry]) -> str:
    """Write the index; returns its address. The pictures are saved beside it by `RunFolder.save_sample`."""
    return folder.write_bytes(INDEX, _ENTRIES.dump_json(tuple(entries), indent=2))


def read_gallery(folder: RunFolder) -> tuple[GalleryEntry, ...]:
    """Read the index, empty where the run wrote none. Raises UserError where it is damaged."""
    if not folder.exists(INDEX):
        return ()
    try:
        return _ENTRIES.validate_json(folder.read_text(INDEX))
    except ValidationError as error:
        raise folder.damaged(INDEX, error) from error


def picture_data_uri(folder: RunFolder, image: str, side: int = 420) -> str:
    """A sample as a JPEG data URI, at most `side` pixels wide and high: small enough to mail sixteen of them in one page.

    Raises UserError where it is missing or damaged.
    """
    name = f"samples/{image}"
    data = folder.read_bytes(name)
    try:
        with Image.open(io.BytesIO(data)) as picture:
            small = picture.convert("RGB")
    except (OSError, SyntaxError) as error:  # Pillow has both for a PNG that is none, or is cut short
        raise folder.damaged(name, ValueError("no picture that can be opened")) from error
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
