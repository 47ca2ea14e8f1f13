from __future__ import annotations

import io
import json
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from caig_rl.errors import UserError
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import read_summary


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    root = str(tmp_path / "runs") if request.param == "local" else f"memory://{uuid.uuid4().hex}/runs"
    made = RunFolder(root, "demo")
    made.prepare()
    return made


def test_making_the_object_touches_nothing(tmp_path: Path) -> None:
    RunFolder(str(tmp_path / "runs"), "demo")
    assert not (tmp_path / "runs").exists()


def test_paths_are_plain_on_disk_and_uris_elsewhere(tmp_path: Path) -> None:
    assert RunFolder(str(tmp_path), "demo").path("summary.json") == f"{tmp_path}/demo/summary.json"
    assert RunFolder("memory://runs", "demo").checkpoint_path(12) == "memory:///runs/demo/checkpoints/12"


def test_a_written_file_reads_back_and_the_new_one_replaces_the_old(folder: RunFolder) -> None:
    folder.write_text("config.yaml", "old, and longer than the new one")
    folder.write_text("config.yaml", "new")
    assert folder.read_text("config.yaml") == "new"


def test_a_folder_that_holds_a_run_is_not_overwritten_unasked(folder: RunFolder) -> None:
    folder.write_text("config.yaml", "objective: pcpo")
    with pytest.raises(UserError, match=r"--resume, or give another run\.name than 'demo'"):
        folder.prepare()
    folder.prepare(resume=True)
    assert folder.read_text("config.yaml") == "objective: pcpo"


def test_a_run_has_begun_once_its_folder_holds_anything(folder: RunFolder) -> None:
    assert not folder.has_begun
    folder.write_text("config.yaml", "objective: pcpo")
    assert folder.has_begun


def test_resuming_where_there_is_no_run_is_refused(folder: RunFolder) -> None:
    with pytest.raises(UserError, match="no run to resume"):
        folder.prepare(resume=True)


def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for root in (tmp_path / "file", Path("/proc/nowhere")):
        with pytest.raises(UserError, match=r"cannot be written .* give another run\.root"):
            RunFolder(str(root), "demo").prepare()


@pytest.mark.parametrize("name", ["metrics.jsonl", "ledger.parquet", "summary.json"])
def test_a_damaged_file_is_named_without_a_traceback(folder: RunFolder, name: str) -> None:
    folder.write_text(name, '{"seed": 0')
    readers = {"metrics.jsonl": folder.read_metrics, "summary.json": lambda: read_summary(folder)}
    with pytest.raises(UserError, match=rf"demo/{name} is damaged, or was not written by a run of this version"):
        readers.get(name, lambda: folder.read_table(name))()


def test_a_missing_file_is_named(folder: RunFolder) -> None:
    with pytest.raises(UserError, match=r"demo/ledger\.parquet is missing"):
        folder.read_table("ledger.parquet")


def test_a_write_that_dies_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(str(tmp_path), "demo")
    folder.prepare()
    folder.write_text("summary.json", "whole")

    def disk_full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(OSError, match="no space"):
        folder.write_text("summary.json", "half")
    assert folder.read_text("summary.json") == "whole"


def test_metrics_are_one_json_object_a_line_in_order(folder: RunFolder) -> None:
    assert folder.read_metrics() == []
    folder.append_metrics({"round": 0, "loss": 1.4, "relevance": None})
    folder.append_metrics({"round": 1, "loss": 1.2, "relevance": 0.6})
    folder.close()
    assert [json.loads(line)["loss"] for line in folder.read_text("metrics.jsonl").splitlines()] == [1.4, 1.2]
    assert folder.read_metrics()[1] == {"round": 1, "loss": 1.2, "relevance": 0.6}


def test_metrics_become_tensorboard_scalars(folder: RunFolder) -> None:
    folder.append_metrics({"round": 0, "kl": 0.5, "note": "words are no scalar"})
    folder.close()
    fs, path = fsspec.core.url_to_fs(folder.path("tensorboard"))
    (events,) = fs.ls(path, detail=False)
    content = fs.cat_file(events)
    assert b"kl" in content
    assert b"note" not in content


@pytest.mark.parametrize("row", [{"round": "3"}, {"round": 0, "loss": float("nan")}])
def test_a_row_without_a_round_or_with_nan_is_refused_and_not_written(folder: RunFolder, row: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"integer round|not JSON compliant"):
        folder.append_metrics(row)
    assert folder.read_metrics() == []


def test_pairs_and_ledger_are_parquet_tables(folder: RunFolder) -> None:
    table = pa.table({"admission_id": [1, 2]})
    assert folder.write_pairs(3, table).endswith("pairs/round-00003.parquet")
    folder.write_ledger(table)
    assert folder.read_table("pairs/round-00003.parquet").equals(table)
    assert folder.read_table("ledger.parquet").equals(table)


def test_a_sample_keeps_its_pixels(folder: RunFolder) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    name = folder.save_sample("p1-before", pixels)
    assert name == "p1-before.png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(folder.read_bytes(f"samples/{name}")))), pixels)


def test_a_sample_cannot_leave_the_folder(folder: RunFolder) -> None:
    with pytest.raises(ValueError, match=r"not '\.\./escape'"):
        folder.save_sample("../escape", np.zeros((2, 2, 3), np.uint8))
