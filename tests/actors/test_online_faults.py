"""What the loop survives by itself, one method at a time. Its parts are fakes; the whole loop is in `test_online`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ObjectLostError, RayTaskError

from actors.online import OnlineLoop
from actors.pipeline import RolledOut, ShardPoisoned
from actors.pooled import WorkerLost
from actors.replies import ScoreReply
from actors.reporting import RoundNotes
from actors.saving import Saver
from actors.shards import Shard
from actors.telemetry import Throughput
from caig_rl.config.schema import Config
from tests.actors.test_book import _book, _open_next
from tests.actors.test_checkpoint import MARKS, _state, make_store
from tests.actors.test_intake import rolled_out

LOST = RayTaskError("judge_creatives", "traceback", ObjectLostError("0" * 56, "", ""))


class LostTask:
    """A Ray task whose input is gone."""

    async def remote(self, *arguments: Any) -> Any:
        raise LOST


def test_creatives_that_go_with_their_node_before_they_are_judged_cost_the_round_a_few_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.online.judge_creatives", LostTask())
    rolled = SimpleNamespace(shard=SimpleNamespace(name="0-1", products=()), creatives=None)
    notes = RoundNotes([], [], [])
    asyncio.run(OnlineLoop._judge_shard(SimpleNamespace(_judge=None), notes, rolled))  # type: ignore[arg-type]
    assert notes.judgements == []


def test_a_run_told_to_stop_on_a_full_disk_still_stops_well_and_keeps_the_checkpoint_it_has(tmp_path: Path) -> None:
    """It ends with 75, so a job controller runs it again; failed, it would be left alone."""
    store, notes = make_store(str(tmp_path), (1,)), list[str]()

    def full(step: int) -> None:
        raise OSError("No space left on device")

    store.before_seal = full
    teacher: Any = None
    book: Any = SimpleNamespace(rounds_done=1, rounds_planned=3, state=lambda extra: _state(1))
    saver = Saver(store, book, teacher, MARKS, dict, notes.append)
    asyncio.run(saver.round_under_way(is_measured=True))
    assert "what round 2 did so far is lost: OSError: No space left on device" in notes[0]
    state = store.newest(MARKS, notes.append)
    assert state is not None and state.rounds_done == 1 and len(notes) == 1


def test_a_product_that_kills_its_workers_fails_as_poison_and_the_rest_of_its_shard_is_paired(tmp_path: Path) -> None:
    book = _book(tmp_path)
    shard, _ = _open_next(book)
    deadly = shard.products[1]

    async def rollout(part: Shard, **options: Any) -> RolledOut:
        if deadly in part.products:
            raise ShardPoisoned(part, "render", 2, WorkerLost("renderer-0 died"))
        return rolled_out(part, ScoreReply(((1.0, 2.0),) * len(part.products)))

    async def notify() -> None:
        return

    told = list[tuple[str, ...]]()

    def tell(*event: str, detail: str) -> None:
        told.append(event)

    parts = {
        "pipeline": SimpleNamespace(rollout=rollout),
        "record": SimpleNamespace(throughput=Throughput(), tell=tell),
        "book": book,
    }
    loop: Any = SimpleNamespace(**parts, _source=None, _config=Config(), _judge=None, _notify=notify)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            await OnlineLoop._roll_out(loop, 0, shard, group)

    asyncio.run(main())
    assert book.ledger.counts()["failed"] == {"poison": 1} and told == [("poison", "render")]
    assert [pair.admission for pair in book.buffer.ready()] == [shard.admissions[0]]
