"""Places, batches and commits: what keeps a busy replica answering."""

import asyncio
import threading
from pathlib import Path

import pytest

from caig_rl.serving.events.event_log import EventLog, EventReader
from caig_rl.serving.events.group_commit import GroupCommit
from caig_rl.serving.events.reported_events import Event
from caig_rl.serving.load.slots import Slots
from caig_rl.serving.load.stall_detection import StallDetector, Stalled
from caig_rl.serving.load.versioned_batcher import VersionedBatcher
from caig_rl.serving.problems import Problem
from tests.serving.events.test_reported_events import impression


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_does_not_fit_is_answered_at_once_with_how_long_to_wait():
    clock = Clock()
    slots = Slots(3, 2, clock)
    with slots.place("a"), slots.place("a"):
        with pytest.raises(Problem) as caught, slots.place("a"):
            pass
        assert caught.value.status == 429
        with slots.place("b"):
            with pytest.raises(Problem) as caught, slots.place("c"):
                pass
            assert caught.value.status == 503
            assert int(caught.value.headers()["Retry-After"]) >= 1
        clock.now += 100.0
    assert slots.taken == 0
    with slots.place("a"), slots.place("a"), pytest.raises(Problem) as caught, slots.place("a"):
        pass
    assert caught.value.retry_after is not None and caught.value.retry_after > 10


def test_a_failed_request_gives_its_place_back():
    slots = Slots(1, 1, Clock())
    with pytest.raises(ZeroDivisionError), slots.place("a"):
        raise ZeroDivisionError
    with slots.place("a"):
        pass


def test_a_batch_that_runs_too_long_is_reported():
    clock = Clock()
    stall = StallDetector("the renderer", 60.0, clock)
    stall.check()
    with stall.working():
        clock.now = 59.0
        stall.check()
        clock.now = 61.0
        with pytest.raises(Stalled, match="renderer"):
            stall.check()
    stall.check()


def test_requests_that_wait_share_a_batch_and_versions_never_do():
    batches: list[tuple[str, list[int]]] = []
    first_runs, go_on = threading.Event(), threading.Event()

    def run(version: str, requests: list[int]) -> list[str]:
        batches.append((version, list(requests)))
        first_runs.set()
        go_on.wait(10)
        return [f"{version}:{request}" for request in requests]

    async def scenario() -> list[str]:
        batcher: VersionedBatcher[int, str] = VersionedBatcher(run, max_batch=3)
        waiting = [asyncio.create_task(batcher.submit("old", 0))]
        await asyncio.to_thread(first_runs.wait)
        for version, number in (("old", 1), ("new", 2), ("old", 3), ("new", 4), ("old", 5), ("old", 6)):
            waiting.append(asyncio.create_task(batcher.submit(version, number)))
        await asyncio.sleep(0)
        go_on.set()
        return list(await asyncio.gather(*waiting))

    answers = asyncio.run(scenario())
    assert answers == ["old:0", "old:1", "new:2", "old:3", "new:4", "old:5", "old:6"]
    assert batches == [("old", [0]), ("old", [1, 3, 5]), ("new", [2, 4]), ("old", [6])]


def test_requests_of_several_parts_share_a_batch_that_has_room_for_all_of_them_and_none_is_overtaken():
    batches: list[list[int]] = []
    first_runs, go_on = threading.Event(), threading.Event()

    def run(version: str, requests: list[int]) -> list[int]:
        batches.append(list(requests))
        first_runs.set()
        go_on.wait(10)
        return list(requests)

    async def scenario() -> None:
        batcher: VersionedBatcher[int, int] = VersionedBatcher(run, max_batch=8, size=lambda parts: parts)
        waiting = [asyncio.create_task(batcher.submit("", 1))]
        await asyncio.to_thread(first_runs.wait)
        waiting += [asyncio.create_task(batcher.submit("", parts)) for parts in (4, 3, 5, 1, 20, 2)]
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(*waiting)

    asyncio.run(scenario())
    assert batches == [[1], [4, 3], [5, 1], [20], [2]]


def test_a_request_that_fails_its_batch_fails_alone():
    def run(version: str, requests: list[int]) -> list[int]:
        if 13 in requests:
            raise ValueError("13")
        return [10 * request for request in requests]

    async def scenario() -> list[object]:
        batcher: VersionedBatcher[int, int] = VersionedBatcher(run, max_batch=8)
        return list(await asyncio.gather(*(batcher.submit("v", n) for n in (1, 13, 2)), return_exceptions=True))

    answers = asyncio.run(scenario())
    assert answers[0] == 10 and answers[2] == 20
    assert isinstance(answers[1], ValueError)


def test_callers_that_have_gone_are_not_worked_for():
    seen: list[int] = []
    hold = threading.Event()

    def run(version: str, requests: list[int]) -> list[int]:
        seen.extend(requests)
        hold.wait(10)
        return list(requests)

    async def scenario() -> None:
        batcher: VersionedBatcher[int, int] = VersionedBatcher(run, max_batch=1)
        first = asyncio.create_task(batcher.submit("v", 1))
        gone = asyncio.create_task(batcher.submit("v", 2))
        last = asyncio.create_task(batcher.submit("v", 3))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0)
        hold.set()
        await asyncio.gather(first, last)

    asyncio.run(scenario())
    assert seen == [1, 3]


class SlowLog(EventLog):
    """Counts its syncs, and fails one."""

    syncs = 0
    fail_at = -1

    def append(self, events):  # type: ignore[no-untyped-def]
        self.syncs += 1
        if self.syncs == self.fail_at:
            raise OSError(28, "No space left on device")
        super().append(events)


def test_many_callers_share_a_sync_and_each_returns_when_its_events_are_durable(tmp_path: Path):
    log = SlowLog(tmp_path)

    async def caller(commit: GroupCommit, number: int) -> None:
        await commit.append([Event("impression", impression(number), 1000.0)])
        assert f"n{number:06d}" in {event.impression.nonce for event in EventReader(tmp_path).new_events()}

    async def scenario() -> None:
        commit = GroupCommit(log)
        await asyncio.gather(*(caller(commit, number) for number in range(40)))

    asyncio.run(scenario())
    assert log.syncs < 10


def test_a_failed_sync_is_told_to_its_callers_and_the_next_one_works(tmp_path: Path):
    log = SlowLog(tmp_path)
    log.fail_at = 1

    async def scenario() -> None:
        commit = GroupCommit(log)
        with pytest.raises(OSError, match="No space"):
            await commit.append([Event("impression", impression(0), 1000.0)])
        await commit.append([Event("impression", impression(1), 1000.0)])

    asyncio.run(scenario())
    assert [event.impression.nonce for event in EventReader(tmp_path).new_events()] == ["n000001"]
