from __future__ import annotations

import pytest

from caig_rl.config.load import load_config
from caig_rl.errors import ConfigError


def test_there_is_no_guard_until_one_is_named_and_it_stops_the_run_by_default() -> None:
    config = load_config(None)
    assert (config.guard.reward, config.guard.stop) == (None, True)


def test_the_model_that_is_optimised_for_is_no_guard() -> None:
    with pytest.raises(ConfigError, match=r"guard\.reward and reward\.model are both runs/reward"):
        load_config(None, ["reward.model=runs/reward", "guard.reward=runs/reward"])
    assert load_config(None, ["guard.reward=nano"]).guard.reward == "nano", "the embedded ones are two"
    assert load_config(None, ["reward.kind=random", "reward.model=runs/reward", "guard.reward=runs/reward"]).guard.reward == "runs/reward"
