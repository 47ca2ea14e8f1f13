"""Folders of files: all with the same of our columns, and broken ones counted."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caig_rl.data.clicks import readers
from caig_rl.data.clicks.pipeline import inspect_log, make_pair_files
from caig_rl.data.clicks.reading import read_log
from caig_rl.errors import ClickLogError
from tests.data.clicks.logs import clicks_config, write_synthetic_log

ROW = {"product": "p", "creative": "a", "impressions": 100, "clicks": 3}


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        path.write_text("\n".join([",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize(("column", "value"), [("propensity", 0.5), ("test", "t"), ("share", 0.5), ("title", "T"), ("image", "a.png")])
def test_a_column_that_only_some_files_have_is_refused_with_both_names(tmp_path: Path, suffix: str, column: str, value: object):
    folder = tmp_path / "log"
    _write(folder / f"old{suffix}", [ROW] * 2)
    _write(folder / f"new{suffix}", [ROW | {column: value}] * 2)
    remedy = re.escape(f"'clicks.columns={{{column}: \"\"}}'")
    with pytest.raises(ClickLogError, match=rf"new\{suffix} has {column!r}, and old\{suffix} has not.*{remedy}"):
        list(read_log(clicks_config(folder)))
    batches = list(read_log(clicks_config(folder, columns={column: ""})))
    assert len(batches) == 2
    assert not any(column in batch.columns for batch in batches)


def test_columns_that_are_not_ours_and_those_that_nothing_uses_may_differ(tmp_path: Path):
    folder = tmp_path / "log"
    _write(folder / "old.csv", [ROW])
    _write(folder / "new.csv", [{"browser": "x", "position": 3} | ROW])
    log = read_log(clicks_config(folder))
    assert sum(batch.num_rows for batch in log) == 2
    assert log.unused == ("position",)


def test_a_json_column_that_begins_after_the_first_batch_is_refused_not_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readers, "BATCH_ROWS", 2)
    path = _write(tmp_path / "log.jsonl", [ROW, ROW, ROW | {"other": 1}, ROW, ROW, ROW | {"propensity": 0.5}])
    with pytest.raises(ClickLogError, match=r"log\.jsonl has 'propensity' in rows 5 to 6, and not in rows before.*null"):
        list(read_log(clicks_config(path)))


def _broken_among(folder: Path, number: int) -> Path:
    rows = pq.read_table(write_synthetic_log(folder / "all.parquet")).to_pylist()
    for part in range(number - 1):
        _write(folder / "log" / f"{part:02d}.parquet", rows[part :: number - 1])
    (folder / "log" / "broken.parquet").write_bytes(b"PAR1 no more")
    return folder / "log"


def test_one_broken_file_among_many_is_counted_and_the_rest_is_read(tmp_path: Path):
    summary = make_pair_files(clicks_config(_broken_among(tmp_path, 20)))
    assert summary.count("rows_accepted") == 240
    assert summary.faults["file_unreadable"].count == 1
    assert "broken.parquet cannot be read as parquet" in summary.faults["file_unreadable"].examples[0]


def test_more_broken_files_than_the_limit_stop_the_job_before_a_row_is_read(tmp_path: Path):
    folder = _broken_among(tmp_path, 10)
    with pytest.raises(ClickLogError, match=r"(?s)1 of 10 files \(10\.0%\) cannot be read.*5\.0% .*max_faulty_share.*broken\.parquet"):
        inspect_log(clicks_config(folder))
    assert inspect_log(clicks_config(folder, max_faulty_share=0.1))[0].count("rows_accepted") == 240


def test_a_file_that_breaks_midway_stops_the_job_with_its_name(tmp_path: Path):
    folder = tmp_path / "log"
    for number in range(30):
        _write(folder / f"{number:02d}.csv", [ROW])
    (folder / "07.csv").write_bytes(b"product,creative,impressions,clicks\np\xff,a,1,0\n")
    with pytest.raises(ClickLogError, match=r"07\.csv cannot be read as csv"):
        inspect_log(clicks_config(folder))


def test_a_csv_file_without_a_header_is_a_broken_file(tmp_path: Path):
    folder = tmp_path / "log"
    _write(folder / "a.csv", [ROW])
    (folder / "b.csv").write_text("")
    log = read_log(clicks_config(folder, max_faulty_share=0.5))
    assert sum(batch.num_rows for batch in log) == 1
    assert log.broken == ["b.csv cannot be read as csv: it is empty"]
