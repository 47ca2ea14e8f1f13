"""The learner's learning rate, and its group."""

from __future__ import annotations

from pathlib import Path

import pytest

from caig_rl.learning.engine import init_group, learning_rate
from tests.learning.pairs import make_config


def test_the_cosine_falls_from_lr_to_its_share() -> None:
    config = make_config(Path("unused"), lr=1e-3, min_lr_ratio=0.1).learner
    assert learning_rate(0, 10, config) == pytest.approx(1e-3)
    assert learning_rate(5, 10, config) == pytest.approx(0.55e-3)
    assert learning_rate(10, 10, config) == pytest.approx(1e-4)
    assert learning_rate(99, 10, config) == pytest.approx(1e-4)


def test_the_constant_schedule_stays() -> None:
    config = make_config(Path("unused"), lr=1e-3, lr_schedule="constant").learner
    assert [learning_rate(step, 10, config) for step in (0, 7, 50)] == [1e-3] * 3


def test_a_group_of_two_needs_a_port() -> None:
    with pytest.raises(ValueError, match="same master_port"):
        init_group(0, 2, master_port=0)


def test_a_group_that_ray_train_has_formed_is_joined_without_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[str] = []
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    monkeypatch.setattr("deepspeed.init_distributed", lambda dist_backend, **settings: joined.append(dist_backend))
    init_group(1, 2)
    assert len(joined) == 1
