from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from caig_rl.serving.files import create_file, replace_file


def test_of_many_writers_at_once_exactly_one_creates_the_file(tmp_path: Path):
    path = tmp_path / "folder" / "once"
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: create_file(path, str(number).encode() * 1000), range(8)))
    assert sum(won) == 1
    assert path.read_bytes() == str(won.index(True)).encode() * 1000
    assert [entry.name for entry in path.parent.iterdir()] == ["once"]


def test_a_file_is_replaced_whole_and_leaves_no_draft(tmp_path: Path):
    for content in (b"long" * 100, b"short"):
        replace_file(tmp_path / "file", content, private=True)
    assert (tmp_path / "file").read_bytes() == b"short"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
