"""Initial against trained policy of a finished run, on as many held-out products as asked: the pools without the learner."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import ray

from actors.cluster import TASK_CPUS
from actors.evaluation import Evaluation, MeasuredPolicy
from actors.pipeline import RolloutPipeline
from actors.progress import Progress, Silent
from actors.telemetry import StageClock, Throughput
from actors.weights import CANARY_ANSWER, CANARY_INSTRUCTION, Canary, PackedTensor, PublishedWeights, canary_view, pack, weights_digest
from caig_rl.config.schema import Config
from caig_rl.evaluation.policy_evaluation import PolicyComparison, compare_policies
from caig_rl.evaluation.run_folder import RunFolder
from caig_rl.interfaces import Judge, ProductSource
from caig_rl.learning.engine import TORCH_DTYPES
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.logprobs import answer_log_probs
from caig_rl.models.policy import load_policy, merged_state_dict
from caig_rl.models.prompting import chat_prompt
from caig_rl.types import PolicyVersion


@dataclass(frozen=True, slots=True)
class MeasuredComparison:
    """Two policies, each as measured, and what lies between them."""

    before: MeasuredPolicy
    after: MeasuredPolicy
    comparison: PolicyComparison


async def compare_run(
    config: Config,
    eval_source: ProductSource,
    judge: Judge | None,
    run_folder: RunFolder,
    policy_folder: Path,
    progress: Progress | None = None,
) -> MeasuredComparison:
    """Measure the policy a run began with (`policy.model`) and the one in `policy_folder`, on `evaluation.products` of `eval_source`.

    Gallery pictures are saved in the run folder as `compared-before-*.png` and `compared-after-*.png`. Ray must be connected.

    Raises:
        ModelFolderError: a folder that is no policy.
        PoolError, SyncError, EvaluationError, ShardPoisoned: as in the online loop.
    """
    watcher = progress or Silent()
    folders = [resolve_model_folder(name, "policy", config.policy.trust_remote_code) for name in (config.policy.model, str(policy_folder))]
    pipeline = RolloutPipeline(config, StageClock(), Throughput(), watcher)
    evaluation = Evaluation(config, eval_source.products, ray.put(eval_source), None if judge is None else ray.put(judge), run_folder)
    try:
        await asyncio.gather(*(pool.start() for pool in (pipeline.policy, pipeline.renderer, pipeline.scorer)))
        measured: list[MeasuredPolicy] = []
        for number, (label, folder) in enumerate(zip(("before", "after"), folders, strict=True)):
            watcher.phase(f"measuring the policy {label} training", len(evaluation.products))
            await pipeline.go_live(await publish_folder(folder, config, PolicyVersion(0, number)))
            measured.append(await evaluation.measure(pipeline, f"compared-{label}"))
    finally:
        await pipeline.close()
    before, after = measured
    comparison = compare_policies(before.evaluated, after.evaluated, config.evaluation.bootstrap, config.run.seed)
    return MeasuredComparison(before, after, comparison)


async def publish_folder(folder: Path, config: Config, version: PolicyVersion) -> PublishedWeights:
    """A policy folder's weights as a published version, with the canary as transformers answers it. Every node must read `folder`."""
    meta, packed = read_policy.remote(folder, config)
    sha256, canary, log_probs = await meta
    return PublishedWeights(version, sha256, canary, log_probs, (packed,))


@ray.remote(num_returns=2, num_cpus=TASK_CPUS)
def read_policy(folder: Path, config: Config) -> tuple[tuple[str, Canary, tuple[float, ...]], dict[str, PackedTensor]]:
    """(hash, canary, its log-probs) and the weights of a policy folder."""
    model, processor = load_policy(folder, TORCH_DTYPES[config.policy.dtype], config.policy.trust_remote_code)
    token_ids = tuple(processor.tokenizer(CANARY_ANSWER, add_special_tokens=False)["input_ids"])
    canary = Canary(CANARY_INSTRUCTION, canary_view(config.policy.image_size), token_ids)
    prompt = chat_prompt(processor, canary.instruction)
    log_probs = answer_log_probs(model, processor, [prompt], [canary.view], [token_ids]).tokens[0].tolist()
    packed = pack(merged_state_dict(model))
    return (weights_digest(packed), canary, tuple(log_probs)), packed
