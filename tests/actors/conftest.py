"""One local Ray cluster for all tests of the actors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.cluster.connect import ray_cluster
from caig_rl.config.schema import ClusterConfig, Config
from tests.actors.fakes import make_tiny_reward
from tests.models.tiny_renderer import make_tiny_renderer
from tests.tiny import make_tiny_policy


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Two CPUs, as the demo has."""
    with ray_cluster(ClusterConfig(num_cpus=2, object_store_gib=0.2)):
        yield


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run of three rounds of six products over random tiny models."""
    return make_tiny_config(tmp_path_factory.mktemp("tiny"))


def make_tiny_config(folder: Path) -> Config:
    """The models are written to `folder`, and so are the runs."""
    one_thread = {"threads": 1}
    return Config.model_validate(
        {
            "run": {"name": "tiny", "root": str(folder / "runs")},
            "imaging": {"size": 128},
            "policy": {"model": str(make_tiny_policy(folder / "policy")), "max_tokens": 10},
            "renderer": {"model": str(make_tiny_renderer(folder / "renderer")), "steps": 2},
            "reward": {"model": str(make_tiny_reward(folder)), "margin": 0.0},
            "rollout": {"rounds": 3, "products_per_round": 6, "candidates": 3, "shard_size": 4},
            "learner": {"batch_size": 4, "micro_batch_size": 4, "lora_rank": 4, "lora_alpha": 8, "lr": 5e-3, **one_thread},
            "pools": {
                "policy": {"num_cpus": 0.4, **one_thread},
                "renderer": {"num_cpus": 0.8, **one_thread},
                "scorer": {"num_cpus": 0.2, **one_thread},
            },
            "evaluation": {"products": 5, "gallery": 5, "bootstrap": 200},
        }
    )
