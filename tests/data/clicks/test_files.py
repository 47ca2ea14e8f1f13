from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caig_rl.data.clicks.files import parquet_writer, write_text

TABLE = pa.table({"a": [1, 2]})


def test_a_file_is_as_before_when_its_writer_fails(tmp_path: Path):
    with parquet_writer(str(tmp_path), "x.parquet", TABLE.schema) as write:
        write(TABLE)
    with pytest.raises(RuntimeError), parquet_writer(str(tmp_path), "x.parquet", TABLE.schema) as write:
        write(TABLE)
        raise RuntimeError("a fault in the middle")
    assert pq.read_table(tmp_path / "x.parquet").equals(TABLE)
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


def test_pieces_add_up_also_on_an_object_store():
    folder = "memory://caig-rl-test-clicks"
    with parquet_writer(folder, "x.parquet", TABLE.schema) as write:
        write(TABLE)
        write(TABLE)
    import fsspec

    with fsspec.open(f"{folder}/x.parquet") as file:
        assert pq.read_table(file)["a"].to_pylist() == [1, 2, 1, 2]
    assert write_text(folder, "x.txt", "hello").startswith("memory://")
