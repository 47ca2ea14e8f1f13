"""Which settings a resume takes."""

from __future__ import annotations

import pytest

from caig_rl.config.changes import FREE, ON_REQUEST, changes_between, refuse_changes
from caig_rl.config.keys import leaves, sections
from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.errors import ConfigError


def check(*overrides: str, asked: tuple[str, ...] = ()) -> None:
    refuse_changes(changes_between(Config(), load_config(None, overrides)), asked)


def test_every_key_of_the_lists_is_one() -> None:
    assert set(FREE) <= {*leaves(), *sections()} and set(ON_REQUEST) <= set(leaves())


@pytest.mark.parametrize(
    "override",
    [
        "pools.renderer.workers=5",
        "learner.keep_checkpoints=9",
        "tracking.mlflow.uri=http://a",
        "cluster.start_timeout_s=9",
        "rollout.rounds=7",
        "reward.judge.timeout_s=9",
        "learner.world_size=2",
        "run.stop_grace_s=60",
    ],
)
def test_what_only_decides_how_it_runs_is_taken(override: str) -> None:
    check(override)


@pytest.mark.parametrize(
    "override", ["learner.lr=0.5", "learner.beta=0.7", "objective=dpo", "reward.batch_size=8", "learner.negatives={hard: 1}"]
)
def test_what_decides_what_is_learned_is_taken_by_request_only(override: str) -> None:
    key = override.split("=")[0]
    with pytest.raises(ConfigError, match=rf"{key}: .* -> .*--change {key}"):
        check(override)
    check(override, asked=(key,))


@pytest.mark.parametrize("override", ["world.seed=3", "reward.kind=random", "rollout.shard_size=4", "learner.lora_rank=4", "run.seed=2"])
def test_what_makes_it_another_run_is_never_taken(override: str) -> None:
    key = override.split("=")[0]
    with pytest.raises(ConfigError, match=rf"{key}: .* -> .*\n.*another run\.name"):
        check(override)
    with pytest.raises(ConfigError, match=f"--change {key}: not a setting"):
        check(override, asked=(key,))


def test_rounds_can_only_be_added() -> None:
    with pytest.raises(ConfigError, match=r"rollout\.rounds: 6 -> 5 .*only be added"):
        check("rollout.rounds=5")


def test_every_refused_key_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)world\.seed.*learner\.lr"):
        check("world.seed=3", "learner.lr=0.5")
