"""The three models behind the service, each a Serve deployment: policy (one version a batch), renderer and scorer (batched by Serve)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray import serve
from safetensors.torch import load_file

from actors.weights import CANARY_INSTRUCTION, CANARY_TOLERANCE, canary_view, largest_gap
from caig_rl.config.schema import Config
from caig_rl.imaging.views import judge_view
from caig_rl.models.engine import PolicyEngine
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.renderer import Renderer
from caig_rl.models.reward import RewardError, RewardScorer
from caig_rl.serving.batcher import VersionedBatcher
from caig_rl.serving.progress import ProgressWatch
from caig_rl.serving.store import encode_png
from caig_rl.serving.versions import BASE, VersionStore, folder_digest, routing_from_json
from caig_rl.types import Cutout, ImageArray, Product

POLICY_BATCH = 32
"""Requests in one call of vLLM; each has a few candidates."""
_BATCH_WAIT_S = 0.02


@dataclass(frozen=True, slots=True)
class PromptJob:
    """Prompts wanted for one product."""

    instruction: str
    view: ImageArray
    """(image_size, image_size, 3)."""
    seed: int
    num: int


@dataclass(frozen=True, slots=True)
class Prompts:
    """The policy's answer: prompts, or why the product's text cannot be asked about."""

    texts: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Painted:
    """One creative on its way from renderer to scorer."""

    png: bytes
    view: ImageArray
    """(side, side, 3): all that the reward model looks at."""
    left_out: str
    """The usability gate's reason; empty where it may be shown."""


class VersionMismatch(RuntimeError):
    """The engine does not hold the weights that were taken in."""


class Policy:
    """A vLLM engine that holds one version's weights at a time and knows where all others lie."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._base = resolve_model_folder(config.policy.model, "policy", config.policy.trust_remote_code)
        self._engine = PolicyEngine(self._base, config.policy, config.pools.policy.threads)
        self._versions = VersionStore(Path(config.serve.root))
        self._version = BASE
        self._watch = ProgressWatch("the policy", config.serve.limits.stall_timeout_s, time.monotonic)
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
        self._watch.check()

    def _run(self, version: str, jobs: Sequence[PromptJob | None]) -> list[Prompts]:
        with self._watch.working():
            if version != self._version:
                self._load(version)
            answers: list[Prompts] = [Prompts()] * len(jobs)
            asked = [(index, job) for index, job in enumerate(jobs) if job is not None]
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
        self._version = ""
        folder = self._base if version == BASE else self._versions.policy_folder(version)
        if version != BASE and folder_digest(folder) != self._versions.record(version).sha256:
            raise VersionMismatch(f"version {version}: the files in {folder} are not those that were taken in")
        self._engine.load_weights({name: tensor for file in sorted(folder.glob("model*.safetensors")) for name, tensor in _read(file)})
        if version != BASE:
            self._check_canary(version)
        self._version = version

    def _check_canary(self, version: str) -> None:
        record = self._versions.record(version)
        view = canary_view(self._config.policy.image_size)
        found = self._engine.log_probs(self._engine.prompt(CANARY_INSTRUCTION), view, record.canary_tokens)
        gap, allowed = largest_gap(found, record.canary_log_probs), CANARY_TOLERANCE[self._config.policy.dtype]
        if not gap <= allowed:
            raise VersionMismatch(f"version {version}: the engine's log-probs are {gap:.2g} nats off transformers' (at most {allowed})")


class Painter:
    """The renderer; Serve puts creatives of different requests into one batch."""

    def __init__(self, config: Config, view_side: int) -> None:
        """`view_side`: of the picture that goes on to the scorer, in pixels."""
        folder = resolve_model_folder(config.renderer.model, "renderer")
        self._renderer = Renderer(folder, config.renderer, config.imaging, config.pools.renderer.threads)
        self._view_side = view_side
        self._watch = ProgressWatch("the renderer", config.serve.limits.stall_timeout_s, time.monotonic)
        batched: Any = self.paint
        batched.set_max_batch_size(config.renderer.batch_size)

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=_BATCH_WAIT_S)
    async def paint(self, cutouts: list[Cutout], prompts: list[str], noise_seeds: list[int]) -> list[Painted]:
        """Paint one creative a job."""
        return await asyncio.to_thread(self._paint, cutouts, prompts, noise_seeds)

    def check_health(self) -> None:
        """Raises Stalled where a batch hangs."""
        self._watch.check()

    def _paint(self, cutouts: list[Cutout], prompts: list[str], noise_seeds: list[int]) -> list[Painted]:
        with self._watch.working():
            rendered = self._renderer.render(cutouts, [[prompt] for prompt in prompts], noise_seeds)
            return [
                Painted(encode_png(one.creative), judge_view(one.creative, self._view_side), "" if one.report.usable else one.report.reason)
                for (one,) in rendered
            ]


class Scorer:
    """The reward model; Serve puts creatives of different requests into one batch."""

    def __init__(self, config: Config) -> None:
        torch.set_num_threads(config.pools.scorer.threads)
        folder = resolve_model_folder(config.reward.model, "reward")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._scorer = RewardScorer.load(folder, getattr(torch, config.reward.dtype)).to(device)
        self._watch = ProgressWatch("the scorer", config.serve.limits.stall_timeout_s, time.monotonic)
        batched: Any = self.score
        batched.set_max_batch_size(config.reward.batch_size)

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=_BATCH_WAIT_S)
    async def score(self, products: list[Product], views: list[ImageArray]) -> list[tuple[float, float]]:
        """Score in log-odds and predicted CTR of one creative a job; NaN where none could be computed."""
        return await asyncio.to_thread(self._score, products, views)

    def check_health(self) -> None:
        """Raises Stalled where a batch hangs."""
        self._watch.check()

    def _score(self, products: list[Product], views: list[ImageArray]) -> list[tuple[float, float]]:
        with self._watch.working():
            scores = self._finite_scores(products, views)
            return [(float(score), float(ctr)) for score, ctr in zip(scores, self._scorer.ctr(scores), strict=True)]

    def _finite_scores(self, products: list[Product], views: list[ImageArray]) -> np.ndarray:
        try:
            return self._scorer.score(products, views, len(views))
        except RewardError:  # one creative without a reward must not cost the others theirs
            if len(views) == 1:
                return np.array([np.nan], dtype=np.float32)
            return np.concatenate([self._finite_scores([product], [view]) for product, view in zip(products, views, strict=True)])


def _read(file: Path) -> list[tuple[str, torch.Tensor]]:
    return list(load_file(file).items())
