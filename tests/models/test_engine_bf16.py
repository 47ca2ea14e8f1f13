"""vLLM and the learner in bfloat16: they read the same weights, and differ by rounding only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from caig_rl.config.schema import PolicyConfig
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.logprobs import answer_log_probs
from caig_rl.models.policy import load_policy
from caig_rl.models.vllm_engine import PolicyEngine
from tests.tiny import random_picture

FOLDER = resolve_model_folder("nano", "policy")


@pytest.fixture(scope="module")
def engine() -> Iterator[PolicyEngine]:
    running = PolicyEngine(FOLDER, PolicyConfig(dtype="bfloat16"), threads=1)
    yield running
    running.close()


def test_log_probs_of_sampled_tokens_agree_in_bfloat16(engine: PolicyEngine) -> None:
    model, processor = load_policy(FOLDER, torch.bfloat16)
    prompts = [engine.prompt(f"Write a background prompt for an ad of mug {index}.") for index in range(8)]
    images = [random_picture(index) for index in range(8)]
    gaps = []
    for prompt, image, group in zip(prompts, images, engine.generate(prompts, images, list(range(8)), 4), strict=True):
        for rollout in group:
            learner = answer_log_probs(model, processor, [prompt], [image], [rollout.token_ids]).tokens[0].detach()
            gaps.append(np.abs(learner.float().numpy() - np.array(rollout.logprobs)))
    gap = float(np.concatenate(gaps).mean())
    assert 0.0 < gap < 0.005
