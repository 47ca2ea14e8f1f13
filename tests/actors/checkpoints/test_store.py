"""A checkpoint is complete or absent."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

import fsspec
import pytest

from actors.checkpoints.store import CheckpointStore, SavedState
from caig_rl.errors import CheckpointError
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.ledger import Ledger
from caig_rl.runs.summary import RunSummary, write_summary
from caig_rl.types import Admission, PolicyVersion
from tests.actors.loop.state.test_preference_buffer import make_pair_of
from tests.finished_run import RESULT_OF_GUARD, make_summary_values

MARKS = {"objective": "pcpo", "world.seed": 0}


def _state(rounds_done: int) -> SavedState:
    ledger = Ledger()
    flying, waiting = Admission(8, 1, "mug", 5), Admission(9, 1, "hose", 6)
    ledger.admit(flying)
    ledger.admit(waiting)
    return SavedState(
        rounds_done, rounds_done + 1, PolicyVersion(0, rounds_done), 10, 10, (flying,), (make_pair_of(waiting),), ledger, {"a": [1.5]}
    )


async def _save_learner(url: str) -> None:
    with fsspec.open(f"{url}/learner/weights", "wb", auto_mkdir=True) as file:
        file.write(b"learned")


def make_store(root: str, steps: tuple[int, ...], keep: int = 5) -> CheckpointStore:
    """Checkpoints of a made-up run after `steps` rounds."""
    store = CheckpointStore(RunFolder(root, "run"), keep)
    for step in steps:
        asyncio.run(store.save(partial(_state, step), MARKS, _save_learner))
    return store


def _newest(store: CheckpointStore, notes: list[str]) -> int:
    state = store.newest(MARKS, notes.append)
    assert state is not None
    return state.rounds_done


@pytest.mark.parametrize("root", ["local", "memory://checkpoints-test"])
def test_the_newest_checkpoint_comes_back_as_it_was(root: str, tmp_path: Path) -> None:
    store = make_store(str(tmp_path) if root == "local" else root, (1, 2))
    state, expected = store.newest(MARKS, lambda text: None), _state(2)
    assert state is not None
    for name in ("rounds_done", "rounds_admitted", "version", "next_admission_id", "cursor_position", "in_flight", "ready", "extra"):
        assert getattr(state, name) == getattr(expected, name)
    assert state.ledger.open_admissions() == expected.ledger.open_admissions()


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("manifest.json", "remove"),
        ("manifest.json", "cut"),
        ("manifest.json", "blank"),
        ("learner/weights", "remove"),
        ("learner/weights", "cut"),
        ("state-0/run.json", "cut"),
        ("state-0/ledger.parquet", "remove"),
    ],
)
def test_one_that_is_cut_short_is_passed_over_by_name(name: str, damage: str, tmp_path: Path) -> None:
    store, notes = make_store(str(tmp_path), (1, 2)), list[str]()
    file = tmp_path / "run" / "checkpoints" / "2" / name
    if damage == "remove":
        file.unlink()
    elif damage == "blank":
        file.write_bytes(bytes(7))  # what a disk without power may leave
    else:
        file.write_bytes(file.read_bytes()[:-3])
    assert _newest(store, notes) == 1
    assert len(notes) == 1 and str(tmp_path / "run" / "checkpoints" / "2") in notes[0]


def test_where_none_was_ever_complete_there_is_nothing_to_resume_from(tmp_path: Path) -> None:
    assert make_store(str(tmp_path / "elsewhere"), ()).newest(MARKS, lambda text: None) is None
    store = make_store(str(tmp_path), (0,))
    (tmp_path / "run" / "checkpoints" / "0" / "manifest.json").unlink()
    assert store.newest(MARKS, lambda text: None) is None


def test_where_all_are_damaged_the_message_says_what_was_found(tmp_path: Path) -> None:
    store = make_store(str(tmp_path), (1,))
    (tmp_path / "run" / "checkpoints" / "1" / "learner" / "weights").write_bytes(b"other")
    with pytest.raises(CheckpointError, match="1 is damaged: learner/weights is not what was written"):
        store.newest(MARKS, lambda text: None)


def test_one_of_another_run_is_refused_by_the_key_that_differs(tmp_path: Path) -> None:
    store = make_store(str(tmp_path), (1,))
    with pytest.raises(CheckpointError, match=r"1 was written with world\.seed=0, and this run has 7"):
        store.newest(MARKS | {"world.seed": 7}, lambda text: None)
    assert store.newest({"objective": "pcpo"}, lambda text: None) is not None


def test_an_update_in_mid_round_replaces_the_state_and_keeps_the_weights(tmp_path: Path) -> None:
    store = make_store(str(tmp_path), (1, 2))
    later = replace(_state(2), next_admission_id=30, in_flight=())
    store.update(later, MARKS)
    state = store.newest(MARKS, lambda text: None)
    assert state is not None and (state.next_admission_id, state.in_flight) == (30, ())
    files = sorted(path.name for path in (tmp_path / "run" / "checkpoints" / "2").iterdir())
    assert files == ["learner", "manifest.json", "state-1"]


def test_an_update_cut_short_leaves_the_state_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(str(tmp_path), (2,))

    def full(name: str, data: bytes) -> str:
        if name.endswith("manifest.json"):
            raise OSError("No space left on device")
        return write(name, data)

    write = store._folder.write_bytes
    monkeypatch.setattr(store._folder, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        store.update(replace(_state(2), next_admission_id=30), MARKS)
    state = store.newest(MARKS, lambda text: None)
    assert state is not None and state.next_admission_id == 10


def test_only_the_newest_few_are_kept(tmp_path: Path) -> None:
    assert make_store(str(tmp_path), (1, 2, 3), keep=2).steps() == [2, 3]


def test_a_save_that_fails_leaves_no_checkpoint_of_its_step(tmp_path: Path) -> None:
    store = make_store(str(tmp_path), (1, 2))

    async def dies(url: str) -> None:
        await _save_learner(url)
        raise ConnectionError("the learner is gone")

    with pytest.raises(ConnectionError):
        asyncio.run(store.save(partial(_state, 2), MARKS, dies))
    assert _newest(store, []) == 1
    assert not (tmp_path / "run" / "checkpoints" / "2").exists(), "what was written of it would fill the disk"


def test_a_checkpoint_that_is_asked_to_stay_is_kept_beside_the_newest(tmp_path: Path) -> None:
    store = CheckpointStore(RunFolder(str(tmp_path), "run"), 1)
    for step in (1, 2, 3, 4):
        asyncio.run(store.save(partial(_state, step), MARKS, _save_learner, lambda: {2}))
    assert store.steps() == [2, 4] and store.fault(2) is None
    assert store.read(2).version == PolicyVersion(0, 2)


def test_the_checkpoint_of_the_result_is_the_one_that_the_summary_of_a_run_that_is_done_names(tmp_path: Path) -> None:
    store = make_store(str(tmp_path), (1, 2, 3))

    def of_result() -> int:
        state = store.of_result(MARKS, lambda text: None)
        assert state is not None
        return state.rounds_done

    assert of_result() == 3
    for status, step in (("done", 2), ("running", 3)):
        result = RESULT_OF_GUARD | {"rounds": 2}
        write_summary(RunSummary.model_validate(make_summary_values(status=status, result=result)), RunFolder(str(tmp_path), "run"))
        assert of_result() == step


def test_a_result_whose_checkpoint_is_damaged_is_not_replaced_by_another(tmp_path: Path) -> None:
    store = make_store(str(tmp_path), (2, 3))
    result = RESULT_OF_GUARD | {"rounds": 2}
    write_summary(RunSummary.model_validate(make_summary_values(result=result)), RunFolder(str(tmp_path), "run"))
    (tmp_path / "run/checkpoints/2/learner/weights").unlink()
    with pytest.raises(CheckpointError, match=r"holds the run's result, is cut short: learner/weights is missing"):
        store.of_result(MARKS, lambda text: None)
