"""Files that are whole or absent, written piece by piece: on local disks beside their place and then renamed; object stores show a
file only when it is closed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem


@contextmanager
def parquet_writer(folder: str, name: str, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Yields a function that appends a table of `schema` to `folder/name`; after an error the file is as it was before."""
    with whole_file(folder, name) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        yield writer.write_table


@contextmanager
def whole_file(folder: str, name: str) -> Iterator[IO[bytes]]:
    """Yields `folder/name`, open for writing; after an error the file is as it was before."""
    filesystem, base = fsspec.core.url_to_fs(folder)
    filesystem.makedirs(base, exist_ok=True)
    target = f"{base.rstrip('/')}/{name}"
    local = isinstance(filesystem, LocalFileSystem)
    place = f"{base.rstrip('/')}/.{name}.{os.getpid()}.partial" if local else target
    try:
        with filesystem.open(place, "wb") as file:
            yield file
    except BaseException:
        if filesystem.exists(place):
            filesystem.rm_file(place)
        raise
    if local:
        Path(place).replace(target)


def remove(folder: str, name: str) -> None:
    """Delete `folder/name` where there is one."""
    filesystem, base = fsspec.core.url_to_fs(folder)
    if filesystem.exists(f"{base.rstrip('/')}/{name}"):
        filesystem.rm_file(f"{base.rstrip('/')}/{name}")


def write_text(folder: str, name: str, text: str) -> str:
    """Write `folder/name`, whole or not at all; returns its address."""
    filesystem, base = fsspec.core.url_to_fs(folder)
    filesystem.makedirs(base, exist_ok=True)
    target = f"{base.rstrip('/')}/{name}"
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.pipe_file(target, text.encode())
        return str(filesystem.unstrip_protocol(target))
    partial = Path(f"{base.rstrip('/')}/.{name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(target)
    return target
