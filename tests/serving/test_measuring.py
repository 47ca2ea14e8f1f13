"""The clients of the benchmarks against the HTTP surface, and what they make of what they saw."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import httpx
import pytest

from benchmarks.http_load import Answered, Client, closed_loop, one_by_one, open_loop, summary
from benchmarks.promises import Promises
from benchmarks.serve_load import judge, overhead
from benchmarks.serve_promotion import Asked, Switched, Traffic, told_apart
from benchmarks.serve_promotion import judge as judge_switches
from caig_rl.serving.choice.arms import Routing
from tests.serving.http.test_app import World
from tests.serving.local_server import served


def quiet(_: str) -> None:
    """Nobody reads it."""


def key_of(world: World) -> str:
    return world.client.headers["Authorization"].removeprefix("Bearer ")


def test_clients_are_answered_alone_in_closed_and_in_open_loops(tmp_path: Path):
    world = World(tmp_path)

    async def load(address: str) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=60.0) as http:
            client = Client(http, [key_of(world)], 2)
            assert len(await one_by_one(client, [5, 6])) == 2
            assert [order.seed for order in world.maker.orders] == [5, 6]
            closed, opened = await closed_loop(client, 2, 0.5), await open_loop(client, 20.0, 0.5)
            for found in (closed, opened):
                assert set(found.statuses) == {200} and found.failed == 0 and found.p50_s is not None
            assert opened.offered_per_s is not None

    with served(world.client.app) as address:
        asyncio.run(load(address))


def test_a_rate_counts_what_was_answered_between_ramp_and_end():
    answers = [Answered(200, 1.0, 100.0 + at, False) for at in (1.0, 3.0, 5.0, 9.0, 11.0)]
    answers += [Answered(503, 0.02, 104.0, True), Answered(429, 0.04, 104.0, False), Answered(500, 0.1, 105.0, False)]
    found = summary("closed", None, answers, 100.0, 10.0)
    assert found.answered_per_s == 3 / 8.0
    assert (found.failed, found.refused_without_retry_after, found.refusals_s) == (1, 1, [0.02, 0.04])


@pytest.mark.parametrize(
    ("refusals", "statuses", "rate", "broken"),
    [
        ([0.05], {200: 9, 503: 1}, 2.0, []),
        ([0.05], {200: 9, 503: 1}, 1.8, ["throughput at twice the capacity no lower than at capacity"]),
        ([0.2], {200: 9, 503: 1}, 2.0, ["refusals within 100 ms (p95)"]),
        ([0.05], {200: 9, 500: 1, 0: 1}, 2.0, ["no request fails"]),
        ([], {200: 9}, 2.0, ["twice the capacity is more than is taken"]),
    ],
)
def test_each_broken_promise_of_the_load_is_named_and_makes_the_exit_code_1(
    refusals: list[float], statuses: dict[int, int], rate: float, broken: list[str]
):
    answers = [Answered(status, 1.0, 3.0 + index / 10, False) for index, status in enumerate(Counter(statuses).elements())]
    good = summary("closed", None, [Answered(200, 1.0, 5.0, False)] * 20, 0.0, 10.0)
    capacity = [good.__class__(**{**good.__dict__, "answered_per_s": 2.0})]
    shown = summary("open", 4.0, answers, 0.0, 10.0)
    overload = [shown.__class__(**{**shown.__dict__, "answered_per_s": rate, "refusals_s": refusals, "refused_without_retry_after": 0})]
    promises = Promises(quiet)
    judge(promises, [[1.0, 1.0], [1.0, 1.0]], {"alone_s": [[1.04, 1.06]], "closed": [], "capacity": capacity, "overload": overload})
    assert [name for name, kept in promises.verdicts.items() if not kept] == broken
    assert promises.exit_code == bool(broken)


def test_overhead_is_paired_by_request_and_leaves_single_stragglers_aside():
    bare = [[1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0]]
    middle, low, high = overhead(bare, [[1.05, 2.1, 3.15, 4.2, 50.0]])
    assert middle == pytest.approx(0.05)
    assert low <= middle <= high


def test_a_machine_that_gets_faster_from_turn_to_turn_is_no_overhead():
    paces = (1.0, 0.8, 0.6)
    bare = [[pace * seconds for seconds in (1.0, 2.0)] for pace in paces]
    served = [[1.05 * seconds * (paces[turn] + paces[turn + 1]) / 2 for seconds in (1.0, 2.0)] for turn in range(2)]
    assert overhead(bare, served)[0] == pytest.approx(0.05)


def test_traffic_sees_the_switch_and_what_each_version_wrote(tmp_path: Path):
    world = World(tmp_path, approval="rules")
    with served(world.client.app) as address, Traffic(address, [key_of(world)], 2, 2) as traffic:
        traffic.wait_for(6)
        assert traffic.live() == "v1"
        world.service.set_routing(Routing("v2", previous=("v1",)))
        traffic.wait_for(6)
        again = traffic.again(traffic.asked[-1])
    assert {one.status for one in traffic.asked} == {200}
    assert {one.version for one in traffic.asked} == {"v1", "v2"}
    assert again == traffic.asked[-1].prompts == {0: "a table", 1: "a beach"}
    assert set(traffic.shown) == {200}


def test_a_prompt_that_only_the_other_version_gives_is_told():
    def asked(version: str, prompts: dict[int, str]) -> Asked:
        return Asked(200, 0.0, 1, version, (version,), prompts)

    answers = [asked("old", {0: "a", 1: "b"}), asked("new", {0: "c", 1: "b"}), asked("new", {0: "a", 1: "x"})]
    again = {"old": [{0: "a", 1: "b"}] * 3, "new": [{0: "c", 1: "b"}] * 3}
    assert told_apart(answers, again) == {"own": 2, "either": 2, "other": 1, "neither": 1}


def test_a_switch_that_takes_too_long_or_mixes_versions_breaks_its_promise():
    traffic = Traffic("http://127.0.0.1:1", ["k"], 1, 1)
    traffic.asked = [Asked(200, 0.0, 1, "old", ("old", "new"), {}), Asked(503, 0.0, 2, "", (), {})]
    promises = Promises(quiet)
    judge_switches(promises, traffic, [Switched("promote", 60.0, 6.0, 1.0)], Counter(own=3))
    broken = [name for name, kept in promises.verdicts.items() if not kept]
    assert broken == [
        "no request fails while 1 commands switch",
        "switch seen within 5 s (/healthz says so)",
        "all creatives of an answer name one version",
    ]
