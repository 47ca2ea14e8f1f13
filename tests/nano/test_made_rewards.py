"""Reward models that an ablation names. Creatives are drawn scenes here: `test_build` draws with the shipped models."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caig_rl.ablation.rewards import RewardToMake, accuracy_of
from caig_rl.errors import UserError
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward.loading import load_reward
from caig_rl.nano import made_rewards
from caig_rl.nano.drawn_parts import PART_PRODUCTS, missing_parts, read_parts, write_part
from caig_rl.nano.isolated import Stopped
from caig_rl.nano.made_rewards import make_reward, train_reward
from caig_rl.nano.reward import LoggedCreatives
from tests.ablation.made_up import a_plan
from tests.nano.test_build import drawn_creatives
from tests.tiny import make_tiny_policy

TEXT = """
base: base.yaml
overrides: [reward.train.backbone={backbone}, reward.train.epochs=1, reward.train.image_size={size}, reward.train.zero_stage=0]
rewards:
  own: {{overrides: [reward.train.form={form}, clicks.policy=official], products: 22, candidates: 2, impressions: 200000}}
arms:
  a: {{reward: own}}
"""


def wanted(folder: Path, form: str = "scorer", size: int = 64, *overrides: str) -> RewardToMake:
    backbone = folder / "backbone"
    if not backbone.exists():
        make_tiny_policy(backbone)
    (reward,) = a_plan(folder, *overrides, text=TEXT.format(backbone=backbone, form=form, size=size)).rewards
    return reward


def write_parts(reward: RewardToMake) -> LoggedCreatives:
    """All of them, as `draw_parts` leaves them."""
    creatives = drawn_creatives(2 * PART_PRODUCTS, 2)
    reward.creatives.mkdir(parents=True, exist_ok=True)
    for start in (0, PART_PRODUCTS):
        rows = slice(2 * start, 2 * (start + PART_PRODUCTS))
        write_part(reward.creatives, start, LoggedCreatives(creatives.products[rows], creatives.views[rows], creatives.prompts[rows]))
    return creatives


def test_creatives_are_read_as_they_were_drawn_and_only_as_many_as_asked_for(tmp_path: Path) -> None:
    reward = wanted(tmp_path)
    assert missing_parts(reward.creatives, 22) == [0, PART_PRODUCTS] and missing_parts(reward.creatives, 20) == [0]
    drawn = write_parts(reward)
    assert missing_parts(reward.creatives, 22) == []
    found = read_parts(reward.creatives, reward.config, 22)
    assert (found.products, found.prompts) == (drawn.products[:44], drawn.prompts[:44])
    assert all(np.array_equal(one, other) for one, other in zip(found.views, drawn.views, strict=False))


class FakeProcesses:
    """Runs nothing: a draw writes its files, a training leaves its folder. Stopped at the functions named."""

    def __init__(self, reward: RewardToMake, stops: tuple[str, ...] = ()) -> None:
        self.ran: list[str] = []
        self._reward, self._stops = reward, stops

    def __call__(self, function: Callable[..., Any], *arguments: Any, progress: Any, is_stopped: Any) -> None:
        name = function.__name__
        self.ran.append(name)
        if name in self._stops:
            raise Stopped
        if name == "draw_parts":
            assert arguments[0] == self._reward.creatives and arguments[4:] == (22, 2, 3)
            write_parts(self._reward)
        else:
            self._reward.folder.mkdir(parents=True)
            (self._reward.folder / "metrics.json").write_text('{"heldout_accuracy": 0.7, "ceiling": 0.9}')


def _make(reward: RewardToMake, processes: FakeProcesses, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(made_rewards, "in_own_process", processes)
    return make_reward(reward, lambda *step: None, lambda: False, threads=3)


def test_a_making_that_is_stopped_goes_on_where_it_was_and_what_is_made_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward = wanted(tmp_path)
    assert not _make(reward, FakeProcesses(reward, stops=("draw_parts",)), monkeypatch)
    halfway = FakeProcesses(reward, stops=("train_reward",))
    assert not _make(reward, halfway, monkeypatch) and halfway.ran == ["draw_parts", "train_reward"]
    rest = FakeProcesses(reward)
    assert _make(reward, rest, monkeypatch) and rest.ran == ["train_reward"]
    shutil.rmtree(reward.creatives)
    again = FakeProcesses(reward)
    assert _make(reward, again, monkeypatch) and again.ran == []


def test_a_model_folder_that_is_none_is_refused_before_anything_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (reward,) = a_plan(tmp_path, f"policy.model={tmp_path}/gone", text=TEXT.format(backbone="nano", form="scorer", size=64)).rewards
    processes = FakeProcesses(reward)
    with pytest.raises(UserError, match="there is no folder"):
        _make(reward, processes, monkeypatch)
    assert processes.ran == []


def trained(rewards: list[RewardToMake]) -> list[tuple[object, ...]]:
    """Steps told. In a process of its own, for DeepSpeed's process group."""
    seen: list[tuple[object, ...]] = []
    for reward in rewards:
        train_reward(reward, 1, lambda *step: seen.append(step[:3]))
    return seen


def test_every_form_learns_from_the_same_creatives_and_says_how_good_it_is(tmp_path: Path) -> None:
    sizes = {"scorer": 64, "side_by_side": 32, "vam": 64, "cg4ctr": 64}
    rewards = {form: wanted(tmp_path, form, size) for form, size in sizes.items()}
    rewards["scorer"] = wanted(tmp_path, "scorer", 64, "segments.names=[gift givers]")
    write_parts(rewards["vam"])
    assert len({reward.creatives for reward in rewards.values()}) == 1
    rewards["vam"].folder.with_name(f".{rewards['vam'].name}.partial").mkdir(parents=True)  # of a training that was killed
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(trained, [*rewards.values()]).result() == [("reward", 1, 1)] * 4
    for form, reward in rewards.items():
        assert load_reward(resolve_model_folder(str(reward.folder), "reward")).kind == form
        found = accuracy_of(reward)
        assert found is not None and 0.0 <= found[0] <= 1.0 and found[1] == 1.0  # at so many impressions the clicks tell the order
        assert json.loads((reward.folder / "metrics.json").read_text())["heldout_pairs"] == 2
    assert load_reward(rewards["scorer"].folder).spec.segments == ("gift givers",)
    assert {*rewards["vam"].folder.parent.iterdir()} == {reward.folder for reward in rewards.values()}
