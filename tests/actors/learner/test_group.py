"""A real learner group that loses a rank: two ranks, then as many as there is room for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray
from ray.util.placement_group import placement_group, remove_placement_group

from actors.learner.group import LearnerGroup, NoRoomError, group_sizes
from actors.learner.rank_health import LearnerLost
from caig_rl.config.schema import Config
from caig_rl.data.group_table import groups_to_table
from caig_rl.types import PolicyVersion
from tests.actors.fake_fleet import FakeRank
from tests.learning.pairs import make_config, make_pairs, make_views
from tests.tiny import make_tiny_policy


def test_a_group_shrinks_to_sizes_that_share_a_batch_equally() -> None:
    assert group_sizes(8, 32) == [8, 4, 2, 1]
    assert group_sizes(3, 12) == [3, 2, 1]
    assert group_sizes(1, 16) == [1]


def test_a_group_that_has_no_room_goes_on_with_fewer_and_waits_for_its_last_rank_as_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new node takes minutes to come; a run must not end because its learner's went."""
    config = Config.model_validate({"learner": {"world_size": 4}, "recovery": {"regroup_s": 9.0}, "cluster": {"start_timeout_s": 700.0}})
    group, asked = LearnerGroup(config), list[tuple[int, float]]()

    async def no_room(total_steps: int, world_size: int, timeout_s: float) -> None:
        asked.append((world_size, timeout_s))
        raise NoRoomError("none")

    monkeypatch.setattr(group, "start", no_room)
    with pytest.raises(NoRoomError):
        asyncio.run(group.re_form(8))
    assert asked == [(4, 9.0), (2, 9.0), (1, 700.0)]


def _taught(group: LearnerGroup) -> Any:
    views = ray.put(make_views(4))
    return group.train(ray.put(groups_to_table(make_pairs(4))), [views], [(0, row) for row in range(4)], None)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = make_config(make_tiny_policy(tmp_path / "policy"), world_size=2, num_cpus=0.5)
    return config.model_copy(update={"recovery": config.recovery.model_copy(update={"regroup_s": 2.0})})


def test_a_lost_rank_is_told_apart_and_the_group_goes_on_with_one(cluster: None, config: Config, tmp_path: Path) -> None:
    url = str(tmp_path / "checkpoint")
    version = PolicyVersion(0, 1)

    async def main() -> None:
        group = LearnerGroup(config)
        try:
            await group.start(8)
            await _taught(group)
            await group.save(url)
            before = await group.publish(version)
            ray.kill(group.handles()[1])
            with pytest.raises(LearnerLost, match="lost a rank during train"):
                await _taught(group)
            assert group.ready_ranks == 2
            group.close()
            assert group.ready_ranks == 0
            # Of the cluster's two CPUs, this leaves room for one rank.
            hog = placement_group([{"CPU": 1.3}])
            await hog.ready()
            try:
                await group.re_form(8)
                assert (group.world_size, len(group.handles()), group.ready_ranks) == (1, 1, 1)
                await group.load(url)
                assert (await group.publish(version)).sha256 == before.sha256
                assert (await _taught(group)).rows == 4
                await group.save(str(tmp_path / "later"))
            finally:
                remove_placement_group(hog)
        finally:
            group.close()

    asyncio.run(main())


def test_a_checkpoint_of_one_rank_goes_on_with_two(cluster: None, config: Config, tmp_path: Path) -> None:
    """A run that is gone on with where there is more room (`learner.world_size` may change with a resume)."""
    url, version = str(tmp_path / "checkpoint"), PolicyVersion(0, 1)
    alone = config.model_copy(update={"learner": config.learner.model_copy(update={"world_size": 1})})

    async def one(settings: Config, load: bool) -> tuple[str, float]:
        group = LearnerGroup(settings)
        try:
            await group.start(8)
            if load:
                await group.load(url)
            else:
                await _taught(group)
                await group.save(url)
            before = (await group.publish(version)).sha256
            return before, (await _taught(group)).loss
        finally:
            group.close()

    async def main() -> None:
        (before, loss), (found, gone_on) = await one(alone, load=False), await one(config, load=True)
        assert found == before
        # The second step is right only where Adam's moments came along.
        assert gone_on == pytest.approx(loss, rel=1e-4)

    asyncio.run(main())


def test_a_frozen_rank_is_lost_and_the_group_re_formed(cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, not killed: Ray has no word of it, and only its steps fail to come."""
    monkeypatch.setattr("actors.learner.group.LearnerRank", FakeRank)
    config = Config.model_validate({"learner": {"num_cpus": 0.2}, "recovery": {"learner_stall_s": 3.0}})
    table = pa.table({"admission_id": [4, 5], "round": [0, 0]})

    async def taught(group: LearnerGroup) -> Any:
        return await group.train(ray.put(table), [ray.put("pictures")], [], None)

    async def main() -> None:
        group = LearnerGroup(config)
        try:
            await group.start(8)
            assert (await taught(group)).rows == 2
            pid = await group.handles()[0].__ray_call__.remote(lambda rank: os.getpid())
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(LearnerLost, match=r"rank 0 made no progress for \d+ s during train"):
                    await taught(group)
                group.close()
                await group.re_form(8)
                assert (await taught(group)).rows == 2
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        finally:
            group.close()

    asyncio.run(main())
