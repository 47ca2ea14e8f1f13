"""A checkpoint is complete or absent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import fsspec
import pytest

from actors.checkpoint import CheckpointStore, RunState
from caig_rl.config.schema import Config
from caig_rl.errors import CheckpointError
from caig_rl.evaluation.ledger import Ledger
from caig_rl.evaluation.run_folder import RunFolder
from caig_rl.types import Admission, PolicyVersion
from tests.actors.test_buffer import make_pair_of

CONFIG = Config()


def _state(rounds_done: int) -> RunState:
    ledger = Ledger()
    flying, waiting = Admission(8, 1, "mug", 5), Admission(9, 1, "hose", 6)
    ledger.admit(flying)
    ledger.admit(waiting)
    return RunState(
        rounds_done, rounds_done + 1, PolicyVersion(0, rounds_done), 10, 10, (flying,), (make_pair_of(waiting),), ledger, {"a": [1.5]}
    )


async def _save_learner(url: str) -> None:
    with fsspec.open(f"{url}/learner/weights", "wb", auto_mkdir=True) as file:
        file.write(b"learned")


def _store(root: str, steps: tuple[int, ...], keep: int = 5) -> CheckpointStore:
    store = CheckpointStore(RunFolder(root, "run"), keep)
    for step in steps:
        asyncio.run(store.save(_state(step), CONFIG, _save_learner))
    return store


@pytest.mark.parametrize("root", ["local", "memory://checkpoints-test"])
def test_the_newest_checkpoint_comes_back_as_it_was(root: str, tmp_path: Path) -> None:
    store = _store(str(tmp_path) if root == "local" else root, (1, 2))
    state, expected = store.newest(CONFIG, lambda text: None), _state(2)
    for name in ("rounds_done", "rounds_admitted", "version", "next_admission_id", "cursor_position", "in_flight", "ready", "extra"):
        assert getattr(state, name) == getattr(expected, name)
    assert state.ledger.open_admissions() == expected.ledger.open_admissions()


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("manifest.json", "remove"),
        ("manifest.json", "cut"),
        ("learner/weights", "remove"),
        ("learner/weights", "cut"),
        ("state.json", "cut"),
    ],
)
def test_one_that_is_cut_short_is_passed_over_by_name(name: str, damage: str, tmp_path: Path) -> None:
    store, notes = _store(str(tmp_path), (1, 2)), list[str]()
    file = tmp_path / "run" / "checkpoints" / "2" / name
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-3])
    assert store.newest(CONFIG, notes.append).rounds_done == 1
    assert len(notes) == 1 and str(tmp_path / "run" / "checkpoints" / "2") in notes[0]


def test_without_a_complete_one_the_message_says_what_was_found(tmp_path: Path) -> None:
    store = _store(str(tmp_path), (1,))
    (tmp_path / "run" / "checkpoints" / "1" / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="1 is cut short: it has no manifest"):
        store.newest(CONFIG, lambda text: None)
    with pytest.raises(CheckpointError, match="none in"):
        _store(str(tmp_path / "elsewhere"), ()).newest(CONFIG, lambda text: None)


def test_one_of_another_run_is_refused(tmp_path: Path) -> None:
    store = _store(str(tmp_path), (1,))
    other = CONFIG.model_copy(update={"objective": "dpo"})
    with pytest.raises(CheckpointError, match="objective='pcpo', and this run has 'dpo'"):
        store.newest(other, lambda text: None)


def test_only_the_newest_few_are_kept(tmp_path: Path) -> None:
    assert _store(str(tmp_path), (1, 2, 3), keep=2).steps() == [2, 3]


def test_a_save_that_fails_leaves_no_checkpoint_of_its_step(tmp_path: Path) -> None:
    store = _store(str(tmp_path), (1, 2))

    async def dies(url: str) -> None:
        raise ConnectionError("the learner is gone")

    with pytest.raises(ConnectionError):
        asyncio.run(store.save(_state(2), CONFIG, dies))
    assert store.newest(CONFIG, lambda text: None).rounds_done == 1
