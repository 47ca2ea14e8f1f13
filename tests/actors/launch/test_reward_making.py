from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.launch.reward_making import make_once
from actors.loop.stop_request import StopRequest
from actors.telemetry.progress import Silent
from caig_rl.ablation.rewards import RewardToMake, StageProgress
from caig_rl.errors import UserError
from tests.ablation.made_up import RECIPES, a_plan


class Seen(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.notes: list[str] = []

    def phase(self, name: str, total: int) -> None:
        self.told.append((name, total))

    def advanced(self, stage: str, count: int) -> None:
        self.told.append((stage, count))

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def wanted(tmp_path: Path) -> RewardToMake:
    return a_plan(tmp_path, text=RECIPES).rewards[0]


def made_at_once(wanted: RewardToMake, tell: StageProgress, is_stopped: Callable[[], bool]) -> bool:
    for step in (2, 50):
        tell("creatives", step, 50, float("nan"))
    tell("reward", 1, 8, 0.5)
    wanted.folder.mkdir(parents=True)
    (wanted.folder / "metrics.json").write_text('{"heldout_accuracy": 0.7, "ceiling": 0.9}')
    return True


def test_a_making_is_shown_by_phases_and_is_done_once(wanted: RewardToMake) -> None:
    seen = Seen()
    assert asyncio.run(make_once(wanted, made_at_once, seen, StopRequest()))
    drawing, training = (
        [("drawing products for reward vam", 50), ("render", 2), ("render", 48)],
        [("training reward vam", 8), ("epochs", 1)],
    )
    assert seen.told == drawing + training
    assert seen.notes == ["reward vam is made: 70.0\u00a0% of held-out pairs in order, ceiling 90.0\u00a0%"]
    assert asyncio.run(make_once(wanted, made_at_once, Seen(), StopRequest())), "a second making would fail on its folder"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_reaches_a_making_that_is_under_way(wanted: RewardToMake, number: int) -> None:
    stop = StopRequest()

    def made_until_stopped(wanted: RewardToMake, tell: StageProgress, is_stopped: Callable[[], bool]) -> bool:
        tell("creatives", 1, 50, float("nan"))
        while not is_stopped():
            time.sleep(0.01)
        return False

    class Impatient(Seen):
        def advanced(self, stage: str, count: int) -> None:
            stop.ask(number)

    assert not asyncio.run(make_once(wanted, made_until_stopped, Impatient(), stop))
    assert not wanted.is_made


def test_a_making_that_fails_says_why(wanted: RewardToMake) -> None:
    def failed(wanted: RewardToMake, tell: StageProgress, is_stopped: Callable[[], bool]) -> bool:
        raise UserError("no epoch ended with a finite loss")

    with pytest.raises(UserError, match="no epoch ended"):
        asyncio.run(make_once(wanted, failed, Seen(), StopRequest()))
