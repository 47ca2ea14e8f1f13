"""Pictures that a log holds as bytes, copied one after the other into one file: no more than a batch of them is ever in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import fsspec
import numpy as np
import pyarrow as pa

from caig_rl.data.clicks.batches import LogBatch
from caig_rl.data.clicks.columns import PICTURE
from caig_rl.data.clicks.creatives import PICTURE_COLUMNS
from caig_rl.data.clicks.files import whole_file
from caig_rl.data.clicks.reading import ClickLog
from caig_rl.errors import ClickLogError

IMAGES = "images.bin"


def copy_pictures(log: ClickLog, creatives: pa.Table, places: pa.ChunkedArray, folder: str) -> pa.Table:
    """Read `log` once more and write `folder/images.bin`; returns `creatives` with `PICTURE_COLUMNS`.

    `places` (N,) says where each creative's picture lies (`PICTURE`), null where the log holds none.

    Raises:
        ClickLogError: the log cannot be read, or has changed since.
    """
    given = np.flatnonzero(places.is_valid().to_numpy())
    found: dict[str, list[object]] = {name: [None] * creatives.num_rows for name in PICTURE_COLUMNS}
    wanted = places.drop_null().to_numpy()
    order = np.argsort(wanted)
    offset = 0
    with whole_file(folder, IMAGES) as file:
        for batch in log:
            for number, content in _wanted(batch, wanted[order]):
                row = int(given[order[number]])
                for name, value in zip(PICTURE_COLUMNS, (offset, len(content), _digest(content)), strict=True):
                    found[name][row] = value
                file.write(content)
                offset += len(content)
        missing = sum(found["image_offset"][row] is None for row in given)
        if missing:
            raise ClickLogError(f"{missing} pictures are no longer where they were: the log has changed while it was read")
    for name, values in found.items():
        field = creatives.schema.field(name)
        creatives = creatives.set_column(creatives.schema.get_field_index(name), field, pa.array(values, field.type))
    return creatives


def read_picture(folder: str, offset: int, size: int, digest: str) -> bytes | None:
    """One picture's bytes from `folder/images.bin`; None where that file is missing or another than the one it was written to."""
    filesystem, base = fsspec.core.url_to_fs(folder)
    path = f"{base.rstrip('/')}/{IMAGES}"
    if not filesystem.exists(path):
        return None
    with filesystem.open(path, "rb", cache_type="none") as file:
        file.seek(offset)
        content: bytes = file.read(size)
    return content if _digest(content) == digest else None


def _wanted(batch: LogBatch, places: np.ndarray) -> Iterator[tuple[int, bytes]]:
    """(number in `places`, which ascends; bytes) of the pictures in `batch` that are asked for."""
    if batch.pictures is None or not len(places):
        return
    here = batch.columns[PICTURE].fill_null(-1).to_numpy(zero_copy_only=False)
    numbers = np.minimum(np.searchsorted(places, here), len(places) - 1)
    for row in np.flatnonzero(places[numbers] == here):
        yield int(numbers[row]), batch.pictures[int(row)].as_py()


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
