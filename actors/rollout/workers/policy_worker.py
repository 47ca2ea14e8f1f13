"""The policy worker: a vLLM engine that writes prompts, and pulls new weights by version."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import ray

from actors.rollout.shard import Shard, Stream
from actors.rollout.worker_replies import PolicyReply
from actors.rollout.workers.shard_log import logged
from actors.telemetry.worker_log import begin_worker_log
from actors.weights.digest import weights_digest
from actors.weights.packing import unpack
from actors.weights.published import Canary, PublishedWeights, SyncReport
from caig_rl.config.schema import Config
from caig_rl.data.instructions import Task, instruction
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.vllm_engine import PolicyEngine
from caig_rl.types import PolicyVersion, RolloutGroup

logger = logging.getLogger(__name__)


class PolicyWorker:
    """Wrapped as a Ray actor by the loop. It answers no shard before it holds published weights."""

    def __init__(self, config: Config) -> None:
        begin_worker_log(config, "policy")
        self._config = config
        folder = resolve_model_folder(config.policy.model, "policy", config.policy.trust_remote_code)
        self._engine = PolicyEngine(folder, config.policy, config.pools.policy.threads)
        self._version: PolicyVersion | None = None
        self._sha256 = ""

    def ready(self) -> str:
        """The node it runs on, once the engine is up."""
        return str(ray.get_runtime_context().get_node_id())

    def sync(self, published: PublishedWeights) -> SyncReport:
        """Pull a version's weights, load them, and report hash and canary. Whether they verify is the controller's judgement."""
        started = time.perf_counter()
        before, before_sha256 = self._canary(published.canary), self._sha256
        packed = {name: tensor for ref in published.refs for name, tensor in ray.get(ref).items()}
        self._sha256 = weights_digest(packed)
        self._engine.load_weights(unpack(packed))
        self._version = published.version
        after = self._canary(published.canary)
        return SyncReport(published.version, self._sha256, before, before_sha256, after, time.perf_counter() - started)

    @logged
    def rollout(self, shard: Shard, views: Sequence[ray.ObjectRef], candidates: int) -> tuple[PolicyReply, list[list[str]]]:
        """Sample `candidates` prompts for each product of the shard; `views[0]` refers to (N, size, size, 3)."""
        assert self._version is not None, "a worker without published weights was given work"
        pictures: npt.NDArray[np.uint8] = ray.get(views[0])
        asked: list[int] = []
        prompts: list[str] = []
        refused: dict[int, str] = {}
        instructions = [
            instruction(Task.PROMPT_GENERATION, product, admission.seed)
            for product, admission in zip(shard.products, shard.admissions, strict=True)
        ]
        for index, text in enumerate(instructions):
            try:
                prompts.append(self._engine.prompt(text))
                asked.append(index)
            except ValueError as error:  # the product's text holds one of the model's control tokens
                refused[index] = str(error)
        seeds = shard.seeds(Stream.POLICY)
        chosen = [pictures[index] for index in asked]
        answers = self._engine.generate(prompts, chosen, [seeds[index] for index in asked], candidates) if prompts else []
        groups: list[RolloutGroup | None] = [None] * len(instructions)
        for index, rollouts in zip(asked, answers, strict=True):
            groups[index] = RolloutGroup(shard.admissions[index], self._version, instructions[index], tuple(rollouts))
        tokens = sum(len(rollout.token_ids) for rollouts in answers for rollout in rollouts)
        payload = [[] if group is None else [rollout.text for rollout in group.rollouts] for group in groups]
        return PolicyReply(tuple(groups), refused, self._version, tokens), payload

    def _canary(self, canary: Canary) -> tuple[float, ...]:
        return self._engine.log_probs(self._engine.prompt(canary.instruction), canary.view, canary.token_ids)
