"""The SmolVLM configuration as shipped, with its models shrunk: a whole online round on a CPU, through the real vLLM."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch

from actors.loop.run import run
from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.models.policy import load_policy
from caig_rl.models.reward.scorer import RewardScorer, RewardSpec
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import RunSummary
from tests.actors.fakes import BrightnessJudge, FakeSource
from tests.production import PICTURE, write_shrunk_policy, write_shrunk_renderer

pytestmark = pytest.mark.slow
NAME = "smolvlm-500m"
SMOLVLM = Path(__file__).parents[3] / "configs" / "smolvlm-500m.yaml"
CPU = ["pools.policy.num_gpus=0", "pools.renderer.num_gpus=0", "pools.scorer.num_gpus=0", "learner.num_gpus=0", "cluster.gpus=0"]
SHARES = ["pools.policy.num_cpus=0.4", "pools.renderer.num_cpus=0.8", "pools.scorer.num_cpus=0.2", "learner.num_cpus=0.4"]
PRECISE = ["policy.dtype=float32", "renderer.dtype=float32", "reward.dtype=float32", "learner.dtype=float32"]
SMALL = [
    f"policy.image_size={PICTURE[NAME]}",
    "policy.max_tokens=10",
    "policy.max_model_len=256",
    "imaging.size=128",
    "renderer.size=64",
    "renderer.steps=2",
    "rollout.rounds=1",
    "rollout.products_per_round=6",
    "rollout.shard_size=3",
    "reward.margin=0.0",
    "learner.batch_size=4",
    "evaluation.products=3",
    "evaluation.gallery=2",
]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("smolvlm")
    models = [
        f"policy.model={write_shrunk_policy(NAME, folder / 'policy')}",
        f"renderer.model={write_shrunk_renderer(folder / 'renderer')}",
        f"reward.model={_reward(folder)}",
    ]
    return load_config(SMOLVLM, [*models, *CPU, *SHARES, *PRECISE, *SMALL, f"run.root={folder / 'runs'}"])


@pytest.fixture(scope="module")
def finished(cluster: None, config: Config) -> tuple[RunSummary, RunFolder]:
    folder = RunFolder(config.run.root, config.run.name)
    return asyncio.run(run(config, FakeSource(9), FakeSource(3, "held"), BrightnessJudge(), folder)), folder


def test_the_round_is_learned_and_its_weights_are_live_and_verified(finished: tuple[RunSummary, RunFolder]):
    summary, folder = finished
    assert (summary.status, summary.rounds, summary.policy_version) == ("done", 1, "0.1")
    assert (summary.sync.count, summary.sync.verified) == (2, 2)
    assert summary.products.admitted == 6 and summary.products.trained > 0
    assert folder.exists("checkpoints/1/policy/model.safetensors")


def test_engine_and_learner_read_the_same_tiles(finished: tuple[RunSummary, RunFolder]):
    (detail,) = finished[0].rounds_detail
    assert detail.model_extra is not None and detail.model_extra["logprob_gap"] < 1e-4


def test_every_process_left_its_lines_in_the_run_folder(finished: tuple[RunSummary, RunFolder]):
    logs = {path.name.split("-")[0]: path.read_text() for path in (Path(finished[1].url) / "logs").iterdir()}
    assert set(logs) == {"controller", "learner", "policy", "renderer", "scorer"}
    assert all('"admissions": [' in text for role, text in logs.items() if role != "controller")


def _reward(folder: Path) -> Path:
    torch.manual_seed(3)
    model, processor = load_policy(write_shrunk_policy(NAME, folder / "backbone", seed=3))
    RewardScorer(model.model, processor, RewardSpec(image_size=PICTURE[NAME])).save(folder / "reward")
    return folder / "reward"
