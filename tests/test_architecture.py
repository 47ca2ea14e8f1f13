"""docs/architecture.md says of each room of `actors/` what the code does."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import grimp

PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")


def _section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def _imports_in_the_table() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \| ([^|]+) \|", _section("Rooms of `actors/`"), re.MULTILINE)
    return {room: set(re.findall(r"`(\w+)`", imports)) for room, imports in rows}


def _imports_in_the_code() -> dict[str, set[str]]:
    graph = grimp.build_graph("actors", cache_dir=None)
    found: dict[str, set[str]] = defaultdict(set)
    for module in graph.modules - {"actors"}:
        room = module.split(".")[1]
        imported = {name.split(".")[1] for name in graph.find_modules_directly_imported_by(module)}
        found[room] |= imported - {room}
    return dict(found)


def test_the_table_of_rooms_has_every_room_and_exactly_its_imports() -> None:
    assert _imports_in_the_table() == _imports_in_the_code()


def test_the_steps_of_both_walks_are_numbered_in_order() -> None:
    for title, least in (("One product, from catalog row to trained weights", 24), ("And to a served creative", 10)):
        numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", _section(title), re.MULTILINE)]
        assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= least


def test_each_term_is_explained_once() -> None:
    terms = re.findall(r"^\| ([a-z][^|]*) \|", _section("Terms"), re.MULTILINE)[1:]
    assert len(terms) == len(set(terms)) > 35
