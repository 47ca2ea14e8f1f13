"""A training job's files are written once, and again where what they are made from has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from caig_rl.data.clicks.training_files import TrainingFiles, source_digest, training_files


class Writer:
    """Writes `content` into both files, and counts."""

    def __init__(self, content: bytes) -> None:
        self.content, self.times = content, 0

    def __call__(self, folder: Path) -> dict[str, int]:
        self.times += 1
        for split in ("train", "validation"):
            (folder / f"{split}.parquet").write_bytes(self.content + split.encode())
        return {"train": 3, "validation": 2}


def test_files_of_the_same_source_are_used_again_and_others_are_written_anew(tmp_path: Path):
    writer = Writer(b"one")
    first = training_files(tmp_path / "files", "a", writer)
    again = training_files(tmp_path / "files", "a", writer)
    assert (writer.times, first.is_reused, again.is_reused) == (1, False, True)
    assert again == TrainingFiles(tmp_path / "files", {"train": 3, "validation": 2}, first.content, True)
    writer.content = b"two"
    other = training_files(tmp_path / "files", "b", writer)
    assert writer.times == 2
    assert not other.is_reused
    assert other.content["train"] != first.content["train"]


def test_files_whose_writing_was_cut_short_are_not_used(tmp_path: Path):
    training_files(tmp_path, "a", Writer(b"one"))

    def killed(folder: Path) -> dict[str, int]:
        (folder / "train.parquet").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training_files(tmp_path, "b", killed)
    writer = Writer(b"one")
    assert not training_files(tmp_path, "a", writer).is_reused
    assert writer.times == 1


def test_a_picture_that_changed_under_its_name_changes_the_source(tmp_path: Path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"12")
    before = source_digest((64,), [picture])
    assert source_digest((64,), [picture]) == before
    assert source_digest((32,), [picture]) != before
    os.utime(picture, ns=(0, 0))
    moved = source_digest((64,), [picture])
    picture.unlink()
    assert len({before, moved, source_digest((64,), [picture])}) == 3
