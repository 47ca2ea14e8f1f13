"""What the loop survives by itself, one method at a time. Its parts are fakes; the whole loop is in `test_online_loop`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ObjectLostError, RayTaskError

from actors.loop.checkpoint_writer import CheckpointWriter
from actors.loop.learning.prompt_learning import PromptLearning
from actors.loop.online_loop import OnlineLoop
from actors.rollout.pool_member import WorkerLost
from actors.rollout.rolled_out import RolledOut, ShardPoisoned
from actors.rollout.shard import Shard
from actors.rollout.worker_replies import ScoreReply
from actors.telemetry.round_totals import RoundTotals
from actors.telemetry.throughput import Throughput
from caig_rl.config.schema import Config
from caig_rl.types import PromptCheck
from tests.actors.checkpoints.test_store import MARKS, _state, make_store
from tests.actors.loop.state.test_rollout_intake import rolled_out
from tests.actors.loop.state.test_run_state import _open_next, _run_state

LOST = RayTaskError("judge_creatives", "traceback", ObjectLostError("0" * 56, "", ""))


class LostTask:
    """A Ray task whose input is gone."""

    async def remote(self, *arguments: Any) -> Any:
        raise LOST


class PromptChecks:
    """A Ray task that finds nothing wrong with one prompt."""

    async def remote(self, *arguments: Any) -> list[list[PromptCheck]]:
        return [[PromptCheck(malformed=False, trap=None, attributes=())]]


def test_creatives_that_go_with_their_node_before_they_are_judged_cost_the_round_a_few_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.loop.online_loop.check_prompts", PromptChecks())
    monkeypatch.setattr("actors.loop.online_loop.judge_creatives", LostTask())
    rolled = SimpleNamespace(shard=SimpleNamespace(name="0-1", products=()), creatives=None, written=list)
    totals = RoundTotals([], [], [])
    asyncio.run(OnlineLoop._judge_shard(SimpleNamespace(_judge="a judge"), totals, rolled))  # type: ignore[arg-type]
    assert totals.judgements == [] and totals.checks.checked == 1


def test_a_run_told_to_stop_on_a_full_disk_still_stops_well_and_keeps_the_checkpoint_it_has(tmp_path: Path) -> None:
    """It ends with 75, so a job controller runs it again; failed, it would be left alone."""
    store, notes = make_store(str(tmp_path), (1,)), list[str]()

    def full(step: int) -> None:
        raise OSError("No space left on device")

    store.before_seal = full
    learner_control: Any = None
    run_state: Any = SimpleNamespace(rounds_done=1, rounds_planned=3, state=lambda extra: _state(1))
    checkpoints = CheckpointWriter(store, run_state, learner_control, MARKS, dict, notes.append)
    asyncio.run(checkpoints.round_under_way(is_measured=True))
    assert "what round 2 did so far is lost: OSError: No space left on device" in notes[0]
    state = store.newest(MARKS, notes.append)
    assert state is not None and state.rounds_done == 1 and len(notes) == 1


def test_a_product_that_kills_its_workers_fails_as_poison_and_the_rest_of_its_shard_is_paired(tmp_path: Path) -> None:
    run_state = _run_state(tmp_path)
    shard, _ = _open_next(run_state)
    deadly = shard.products[1]

    async def rollout(part: Shard, **options: Any) -> RolledOut:
        if deadly in part.products:
            raise ShardPoisoned(part, "render", 2, WorkerLost("renderer-0 died"))
        return rolled_out(part, ScoreReply(((1.0, 2.0),) * len(part.products)))

    async def notify() -> None:
        return

    told = list[tuple[str, ...]]()

    def record_event(*event: str, detail: str) -> None:
        told.append(event)

    parts = {
        "pipeline": SimpleNamespace(rollout=rollout),
        "meters": SimpleNamespace(throughput=Throughput()),
        "_events": SimpleNamespace(record_event=record_event),
        "run_state": run_state,
        "learner_control": SimpleNamespace(prompts=PromptLearning(Config(), shard.products, lambda text: None)),
    }
    loop: Any = SimpleNamespace(**parts, _source=None, _judge=None, _notify=notify, _judging={0: []})
    loop._judge_shard = lambda totals, rolled: notify()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            await OnlineLoop._roll_out(loop, 0, shard, group)

    asyncio.run(main())
    assert run_state.ledger.counts()["failed"] == {"poison": 1} and told == [("poison", "render")]
    assert [pair.admission for pair in run_state.buffer.ready()] == [shard.admissions[0]]
