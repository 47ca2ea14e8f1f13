import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caig_rl.data.clicks import readers
from caig_rl.data.clicks.reading import read_log
from caig_rl.errors import ClickLogError
from tests.data.clicks.logs import clicks_config

ROWS = [
    {"product": "007", "creative": "a", "impressions": 100, "clicks": 3},
    {"product": "007", "creative": "b\nc", "impressions": 90, "clicks": 2},
    {"product": "8", "creative": "a", "impressions": 80, "clicks": None},
]


def _write(path: Path) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif path.suffix == ".csv":
        lines = ["product,creative,impressions,clicks", "007,a,100,3", '007,"b\nc",90,2', "8,a,80,"]
        path.write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    else:
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n")
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, suffix: str):
    (batch,) = read_log(clicks_config(_write(tmp_path / f"log{suffix}")))
    assert batch.columns["product"].to_pylist() == ["007", "007", "8"]
    assert batch.columns["creative"].to_pylist() == ["a", "b\nc", "a"]
    assert batch.columns["impressions"].to_pylist() == [100.0, 90.0, 80.0]
    assert batch.columns["clicks"].to_pylist() == [3.0, 2.0, None]
    assert batch.given["clicks"].to_pylist() == [True, True, False]


def test_a_folder_is_read_file_by_file_in_the_order_of_names(tmp_path: Path):
    folder = tmp_path / "logs"
    (folder / "day=2").mkdir(parents=True)
    _write(folder / "day=2" / "part.parquet")
    _write(folder / "a.parquet")
    (folder / "_SUCCESS").write_text("")
    assert [batch.file for batch in read_log(clicks_config(folder))] == ["a.parquet", "day=2/part.parquet"]


def test_long_files_come_in_batches_that_know_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readers, "BATCH_ROWS", 2)
    for name in ("log.parquet", "log.jsonl"):
        batches = list(read_log(clicks_config(_write(tmp_path / name))))
        assert [(batch.first_row, batch.num_rows) for batch in batches] == [(1, 2), (3, 1)]


def test_broken_lines_are_quoted_and_the_rest_is_read(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(ROWS[0]) + '\n{"product": \n[1]\n\n' + json.dumps(ROWS[1]) + "\n")
    (batch,) = read_log(clicks_config(path))
    assert batch.num_rows == 2
    assert [message[:16] for message in batch.unreadable] == ["log.jsonl line 2", "log.jsonl line 3"]


def test_csv_rows_of_the_wrong_width_are_quoted_once(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("product,creative,impressions,clicks\np,a,10,1\np,b,10\np,c,10,1,9\np,d,10,2\n")
    batches = list(read_log(clicks_config(path)))
    assert sum(batch.num_rows for batch in batches) == 2
    unreadable = [message for batch in batches for message in batch.unreadable]
    assert len(unreadable) == 2
    assert "3 cells, where the header has 4" in unreadable[0]


def test_a_csv_file_of_broken_rows_alone_loses_none_of_them(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("product,creative,impressions,clicks\n" + "p,a,10,1,\n" * 7)
    batches = list(read_log(clicks_config(path)))
    assert sum(len(batch.unreadable) for batch in batches) == 7
    assert sum(batch.num_rows for batch in batches) == 0


@pytest.mark.parametrize("title", [b'"cut \\ud83d"', b'"cut \xed\xa0\xbd"', b'"\xff"'])
def test_a_json_line_that_is_no_text_is_unreadable(tmp_path: Path, title: bytes):
    path = tmp_path / "log.jsonl"
    good = json.dumps(ROWS[0] | {"title": "whole \N{GRINNING FACE}"}).encode()
    path.write_bytes(good + b"\n" + good[:-1] + b', "title": ' + title + b"}\n")
    (batch,) = read_log(clicks_config(path))
    assert batch.columns["title"].to_pylist() == ["whole \N{GRINNING FACE}"]
    assert len(batch.unreadable) == 1 and batch.unreadable[0].startswith("log.jsonl line 2: no JSON")
    batch.unreadable[0].encode()


def test_words_in_a_column_of_numbers_become_missing_numbers_that_were_given(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("product,creative,impressions,clicks\np,a, 1e3 ,many\np,b,0x10,true\np,c,nan,false\n")
    (batch,) = read_log(clicks_config(path))
    assert batch.columns["impressions"].to_pylist() == [1000.0, None, None]
    assert batch.columns["clicks"].to_pylist() == [None, 1.0, 0.0]
    assert batch.given["clicks"].to_pylist() == [True, True, True]


def test_an_event_is_one_impression_whatever_else_the_file_holds(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("product,creative,impressions,clicks\np,a,17,1\np,b,18,0\n")
    (batch,) = read_log(clicks_config(path, form="events"))
    assert batch.columns["impressions"].to_pylist() == [1.0, 1.0]


def test_joined_columns_keep_rows_where_one_part_is_missing(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("product,head,image,impressions,clicks\np,Hello,x.png,10,1\np,Hello,,10,1\n")
    (batch,) = read_log(clicks_config(path, columns={"creative": "head + image"}))
    assert batch.columns["creative"].to_pylist() == ["Hello + x.png", "Hello + "]


def test_pictures_as_bytes_stay_bytes(tmp_path: Path):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_pylist([row | {"image": b"\x89PNG"} for row in ROWS]), path)
    (batch,) = read_log(clicks_config(path))
    assert batch.pictures.to_pylist() == [b"\x89PNG"] * 3
    assert batch.columns["image"].null_count == 3


BYTES, PATH = b"\x89PNG", "a.png"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([BYTES] * 3, pa.large_binary()), [BYTES] * 3),
        (pa.array([BYTES] * 3, pa.binary_view()), [BYTES] * 3),
        (pa.array([BYTES] * 3, pa.binary(4)), [BYTES] * 3),
        (pa.array([BYTES] * 3).dictionary_encode(), [BYTES] * 3),
        (pa.array([{"bytes": BYTES, "path": PATH}, None, {"bytes": None, "path": PATH}]), [BYTES, None, PATH]),
        (pa.array([{"path": PATH}] * 3), [PATH] * 3),
        (pa.array([PATH] * 3, pa.string_view()), [PATH] * 3),
        (pa.array([PATH] * 3, pa.large_string()), [PATH] * 3),
    ],
)
def test_pictures_may_be_bytes_of_any_kind_or_hugging_faces_structs(tmp_path: Path, values: pa.Array, expected: list[bytes | str | None]):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS).append_column("image", values), path)
    (batch,) = read_log(clicks_config(path))
    paths = batch.columns["image"].to_pylist()
    pictures = batch.pictures.to_pylist() if batch.pictures is not None else [None] * 3
    assert [picture if picture is not None else name for picture, name in zip(pictures, paths, strict=True)] == expected


def test_pictures_of_another_type_are_named_with_it(tmp_path: Path):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_pylist([row | {"image": [[1, 2], [3]]} for row in ROWS]), path)
    with pytest.raises(ClickLogError, match=r"log\.parquet.*'image'.*list<.*clicks\.columns\.image"):
        list(read_log(clicks_config(path)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.txt", b"x", "no click log"),
        ("log.parquet", b"PAR1 no more", "cannot be read as parquet"),
        ("log.csv", b"product,creative,impressions,clicks\np\xff,a,1,0\n", "cannot be read as csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ClickLogError, match=message):
        list(read_log(clicks_config(tmp_path / name)))


def test_a_path_where_nothing_is_is_named(tmp_path: Path):
    with pytest.raises(ClickLogError, match="there is no click log"):
        list(read_log(clicks_config(tmp_path / "none.csv")))
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    _write(mixed / "a.csv")
    _write(mixed / "b.jsonl")
    with pytest.raises(ClickLogError, match="one kind"):
        list(read_log(clicks_config(mixed)))


def test_a_json_record_may_leave_out_what_a_later_one_has(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (ROWS[0], ROWS[1] | {"propensity": 0.5})) + "\n")
    (batch,) = read_log(clicks_config(path))
    assert batch.columns["propensity"].to_pylist() == [None, 0.5]


def test_a_column_of_lists_where_a_name_was_expected_is_named(tmp_path: Path):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_pylist([row | {"product": [1, 2]} for row in ROWS]), path)
    with pytest.raises(ClickLogError, match=r"log\.parquet cannot be read"):
        list(read_log(clicks_config(path)))
