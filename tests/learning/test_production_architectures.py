"""Each production architecture, shrunk, takes a learner step on a CPU: its config, its processor, real DeepSpeed, random weights."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.learning.engine import gathered_copy, init_group
from caig_rl.learning.preference import learner as preference
from caig_rl.learning.preference.learner import PreferenceLearner
from caig_rl.models.policy import merged_state_dict
from caig_rl.sizing.architectures import LANGUAGE_MODELS
from tests.learning.pairs import make_pairs
from tests.production import PICTURE, shrunk_policy
from tests.tiny import random_picture

pytestmark = pytest.mark.slow
CONFIGS = Path(__file__).parents[2] / "configs"
FILES = {"smolvlm-500m": "smolvlm-500m.yaml", "llava-1.6-vicuna-7b": "llava16-7b-paper.yaml", "qwen2.5-vl-7b": "qwen25-vl-7b.yaml"}


def config(name: str) -> Config:
    """The shipped config, but for what one CPU process cannot be: ranks, precision, and a rate that shows after two steps."""
    overrides = ["learner.world_size=1", "learner.num_gpus=0", "learner.dtype=float32", "learner.batch_size=4", "learner.lora_rank=4"]
    return load_config(CONFIGS / FILES[name], [*overrides, "learner.lr=1e-2", "learner.threads=1", f"policy.image_size={PICTURE[name]}"])


@pytest.fixture(params=LANGUAGE_MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def learner(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PreferenceLearner]:
    monkeypatch.setattr(preference, "resolve_model_folder", lambda *_: tmp_path)
    # Qwen's processor cannot be loaded from a folder here (tests/production.py); what is loaded is what each folder would hold.
    monkeypatch.setattr(preference, "load_policy", lambda *_: shrunk_policy(name))
    init_group(0, 1)
    yield PreferenceLearner(config(name), 0, 1, total_steps=4)


def test_a_round_of_two_steps_moves_the_adapter_and_nothing_else(learner: PreferenceLearner, name: str):
    side = PICTURE[name]
    before = learner.export_weights()
    metrics = learner.train_round(make_pairs(6), [random_picture(index, side) for index in range(6)])
    after = learner.export_weights()
    assert (metrics.rows, metrics.steps) == (6, 2)
    assert all(math.isfinite(value) for value in (metrics.loss, metrics.kl, metrics.grad_norm)) and metrics.grad_norm > 0
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved and all("layers" in key and ("proj" in key) for key in moved)
    assert not any("vis" in key for key in moved)


def test_the_picture_is_read(learner: PreferenceLearner, name: str):
    """A picture that the model did not see would leave the log-probs as they are."""
    answers: list[Any] = [learner.token_log_probs("a mug", random_picture(seed, PICTURE[name]), (40, 41, 42)) for seed in (1, 2, 1)]
    assert answers[0] == answers[2] != answers[1]


def test_what_is_published_are_the_checkpoints_names(learner: PreferenceLearner, name: str, tmp_path: Path):
    fresh, _ = shrunk_policy(name)
    fresh.save_pretrained(tmp_path / "plain")
    from safetensors.torch import load_file

    checkpoint = load_file(tmp_path / "plain" / "model.safetensors")
    published = merged_state_dict(learner.engine.module, gathered_copy)
    assert {key: value.shape for key, value in published.items()} == {key: value.shape for key, value in checkpoint.items()}
