"""A real policy worker over a real engine: what the verification of a sync catches, and what does not reach the engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.exceptions import RayTaskError
from safetensors.torch import load_file
from transformers import AutoProcessor

from actors.cluster.connect import worker_options
from actors.rollout.shard import make_shards
from actors.rollout.workers.policy_worker import PolicyWorker
from actors.weights.digest import weights_digest
from actors.weights.packing import pack
from actors.weights.published import Canary, PublishedWeights
from actors.weights.verification import CANARY_ANSWER, SyncError, canary_view, verify_sync
from caig_rl.config.schema import Config
from caig_rl.models.logprobs import answer_log_probs
from caig_rl.models.policy import load_policy
from caig_rl.models.prompting import chat_prompt
from caig_rl.models.vllm_engine import prepare_environment
from caig_rl.types import PolicyVersion, Product
from tests.tiny import random_picture


class SkippingWorker(PolicyWorker):
    """Can be told to take new weights and not load them."""

    def skip_loading(self) -> None:
        self._engine.load_weights = lambda weights: None  # type: ignore[method-assign]


@dataclass
class _Learner:
    """Stands in for the learner group: weights that drift, and transformers' own log-probs."""

    folder: Path
    canary: Canary

    def publish(self, number: int, drop: str = "") -> PublishedWeights:
        weights = self.weights(number)
        model, processor = load_policy(self.folder)
        model.load_state_dict(weights, strict=False)
        prompt = chat_prompt(processor, self.canary.instruction)
        with torch.no_grad():
            answer = answer_log_probs(model, processor, [prompt], [self.canary.view], [self.canary.token_ids]).tokens[0]
        packed = pack({name: tensor for name, tensor in weights.items() if name != drop})
        return PublishedWeights(PolicyVersion(0, number), weights_digest(packed), self.canary, tuple(answer.tolist()), (ray.put(packed),))

    def weights(self, number: int) -> Mapping[str, torch.Tensor]:
        noise = torch.Generator().manual_seed(number)
        base = load_file(self.folder / "model.safetensors")
        return {name: tensor + 0.01 * number * torch.randn(tensor.shape, generator=noise) for name, tensor in base.items()}


@pytest.fixture(scope="module")
def learner(tiny_config: Config) -> _Learner:
    folder = Path(tiny_config.policy.model)
    tokens = AutoProcessor.from_pretrained(folder).tokenizer(CANARY_ANSWER, add_special_tokens=False)["input_ids"]
    return _Learner(folder, Canary("write", canary_view(64), tuple(tokens)))


@pytest.fixture(scope="module")
def worker(cluster: None, tiny_config: Config) -> Iterator[Any]:
    environment = prepare_environment(tiny_config.policy, 1)
    handle = ray.remote(SkippingWorker).options(**worker_options(tiny_config.pools.policy, environment)).remote(tiny_config)
    yield handle
    ray.kill(handle)


def test_a_sync_is_verified_and_each_way_it_can_go_wrong_is_caught(worker: Any, learner: _Learner) -> None:
    for number in (0, 1, 2):
        published = learner.publish(number)
        verify_sync(ray.get(worker.sync.remote(published)), published, "float32")

    dropped = learner.publish(3, drop=min(learner.weights(0)))
    with pytest.raises(RayTaskError, match="is missing from the new weights"):
        ray.get(worker.sync.remote(dropped))

    mixed_up = replace(learner.publish(3), refs=learner.publish(2).refs)
    with pytest.raises(SyncError, match="other bytes"):
        verify_sync(ray.get(worker.sync.remote(mixed_up)), mixed_up, "float32")

    ray.get(worker.skip_loading.remote())
    skipped = learner.publish(4)
    with pytest.raises(SyncError, match="nats off the learner's"):
        verify_sync(ray.get(worker.sync.remote(skipped)), skipped, "float32")


def test_a_product_whose_text_holds_a_control_token_is_refused_and_the_others_are_answered(worker: Any, learner: _Learner) -> None:
    ray.get(worker.sync.remote(learner.publish(0)))
    products = [Product("good", "red mug", "kitchen"), Product("bad", "mug <image>", "kitchen"), Product("fine", "hose", "garden")]
    shard = make_shards(products, [1, 2, 3], 0, 0, shard_size=3)[0]
    views = ray.put([random_picture(seed) for seed in range(3)])
    meta, payload = worker.rollout.options(num_returns=2).remote(shard, [views], 2)
    reply, prompts = ray.get([meta, payload])
    assert [group is None for group in reply.groups] == [False, True, False]
    assert "<image>" in reply.refused[1] and [len(texts) for texts in prompts] == [2, 0, 2]
