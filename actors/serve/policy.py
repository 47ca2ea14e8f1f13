"""The policy behind the service: one vLLM engine, one version's weights a batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from actors.serve.messages import PromptJob, Prompts
from actors.serve.replica_log import batch_done, begin_replica_log
from actors.weights.verification import CANARY_INSTRUCTION, CANARY_TOLERANCE, canary_view, largest_gap
from caig_rl.config.schema import Config
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.vllm_engine import PolicyEngine
from caig_rl.serving.load.stall_detection import StallDetector
from caig_rl.serving.load.versioned_batcher import VersionedBatcher
from caig_rl.serving.versions import BASE, VersionStore, folder_digest, routing_from_json

logger = logging.getLogger(__name__)

POLICY_BATCH = 32
"""Requests in one call of vLLM; each has a few candidates."""


class VersionMismatch(RuntimeError):
    """The engine does not hold the weights that were taken in."""


class Policy:
    """A vLLM engine that holds one version's weights at a time and knows where all others lie."""

    def __init__(self, config: Config) -> None:
        begin_replica_log(config, "policy")
        self._config = config
        self._base = resolve_model_folder(config.policy.model, "policy", config.policy.trust_remote_code)
        self._engine = PolicyEngine(self._base, config.policy, config.pools.policy.threads)
        self._versions = VersionStore(Path(config.serve.root))
        self._version = BASE
        self._stall = StallDetector("the policy", config.serve.limits.stall_timeout_s, time.monotonic)
        self._batcher: VersionedBatcher[PromptJob | None, Prompts] = VersionedBatcher(self._run, POLICY_BATCH)

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Hold the live version before the next request comes; requests under way end with the version they began with."""
        await self._batcher.submit(routing_from_json(user_config["routing"]).live, None)

    async def prompts(self, version: str, job: PromptJob) -> Prompts:
        """Prompts by `version`, whatever is live."""
        return await self._batcher.submit(version, job)

    async def verify(self, version: str) -> None:
        """Load `version` once. Raises VersionMismatch where files or log-probs are not those that were taken in."""
        await self._batcher.submit(version, None)

    def check_health(self) -> None:
        """Raises Stalled where a batch hangs."""
        self._stall.check()

    def _run(self, version: str, jobs: Sequence[PromptJob | None]) -> list[Prompts]:
        with self._stall.working():
            if version != self._version:
                self._load(version)
            answers: list[Prompts] = [Prompts()] * len(jobs)
            asked = [(index, job) for index, job in enumerate(jobs) if job is not None]
            if asked:
                with batch_done("prompted", [job for _, job in asked], sum(job.num for _, job in asked)):
                    for num, group in groupby(sorted(asked, key=lambda one: one[1].num), key=lambda one: one[1].num):
                        self._sample(num, list(group), answers)
            return answers

    def _sample(self, num: int, asked: list[tuple[int, PromptJob]], answers: list[Prompts]) -> None:
        prompts: dict[int, str] = {}
        for index, job in asked:
            try:
                prompts[index] = self._engine.prompt(job.instruction)
            except ValueError as error:  # the product's text holds one of the model's control tokens
                answers[index] = Prompts(refused=str(error))
        jobs = [job for index, job in asked if index in prompts]
        if jobs:
            rollouts = self._engine.generate(list(prompts.values()), [job.view for job in jobs], [job.seed for job in jobs], num)
            for index, group in zip(prompts, rollouts, strict=True):
                answers[index] = Prompts(tuple(rollout.text for rollout in group))

    def _load(self, version: str) -> None:
        # Named first: should loading fail half-way, the next batch loads again.
        self._version, started = "", time.perf_counter()
        folder = self._base if version == BASE else self._versions.policy_folder(version)
        if version != BASE and folder_digest(folder) != self._versions.record(version).sha256:
            raise VersionMismatch(f"version {version}: the files in {folder} are not those that were taken in")
        self._engine.load_weights({name: tensor for file in sorted(folder.glob("model*.safetensors")) for name, tensor in _read(file)})
        if version != BASE:
            self._check_canary(version)
        self._version = version
        logger.info("holds version %s after %.2f s", version, time.perf_counter() - started, extra={"policy_version": version})

    def _check_canary(self, version: str) -> None:
        record = self._versions.record(version)
        view = canary_view(self._config.policy.image_size)
        found = self._engine.log_probs(self._engine.prompt(CANARY_INSTRUCTION), view, record.canary_tokens)
        gap, allowed = largest_gap(found, record.canary_log_probs), CANARY_TOLERANCE[self._config.policy.dtype]
        if not gap <= allowed:
            raise VersionMismatch(f"version {version}: the engine's log-probs are {gap:.2g} nats off transformers' (at most {allowed})")


def _read(file: Path) -> list[tuple[str, torch.Tensor]]:
    return list(load_file(file).items())
