"""One policy measured once for all cells that share it: kept in the ablation's folder, with every candidate's score and picture."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

import ray
from pydantic import BaseModel, ConfigDict, ValidationError

from actors.evaluation.held_out import Evaluation
from actors.launch.measuring import measuring_workers
from actors.telemetry.progress import Progress
from caig_rl.config.schema import Config
from caig_rl.evaluation.measured_policy import MeasuredPolicy
from caig_rl.interfaces import Judge, ProductSource
from caig_rl.runs.folder import RunFolder
from caig_rl.segments import segment_shares
from caig_rl.types import PolicyVersion

FILE = "policy.json"


@dataclass(frozen=True, slots=True)
class PolicyMeasurement:
    """What it came to."""

    policy: MeasuredPolicy
    ceilings: Mapping[str, float]
    """True CTR of the best known prompt by product id, where it is known."""
    seconds: float
    folder: RunFolder
    """Holds the pictures of the gallery's products, every candidate's (`candidate_picture`)."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Which policy."""

    version: PolicyVersion
    checkpoint: str | None
    """Address; None: the policy as every run begins with it."""


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    policy: dict[str, object]
    ceilings: dict[str, float]
    seconds: float


async def measure_once(
    config: Config, folder: RunFolder, num_prompts: int, weights: Weights, ends: tuple[ProductSource, Judge], progress: Progress
) -> PolicyMeasurement:
    """What `folder` holds, where it was measured with at least `num_prompts` a product; else measure now and keep it there.

    Args:
        config: of the policy, the renderer, the reward model and the evaluation; its run's name and place are put aside.
        folder: of this policy alone.
        num_prompts: prompts a product.
        weights: whose policy.
        ends: the held-out products, and who judges.
        progress: who watches.

    Raises:
        UserError: a damaged file, no workers, or no product that can be measured.
    """
    kept = _read(folder)
    if kept is not None and kept.policy.evaluated.num_prompts >= num_prompts:
        return kept
    root, _, name = folder.url.rpartition("/")
    evaluation = config.evaluation.model_copy(update={"prompts_per_product": num_prompts})
    run = config.run.model_copy(update={"root": root, "name": name})
    own = config.model_copy(update={"evaluation": evaluation, "run": run})
    source, judge = ends
    source_ref, judge_ref, segments = ray.put(source), ray.put(judge), segment_shares(own, judge)
    measure = Evaluation(own, list(source.products), source_ref, judge_ref, folder, every_candidate=True, segments=segments)
    began = time.monotonic()
    async with measuring_workers(own, progress, judge_ref) as workers:
        await workers.show(weights.version, weights.checkpoint)
        progress.phase(f"measuring {name}, {num_prompts} prompts a product", len(measure.products))
        policy = await measure.measure(workers.pipeline, "policy")
        ceilings = await measure.ceilings(workers.pipeline) if weights.checkpoint is None else {}
    found = PolicyMeasurement(policy, ceilings, time.monotonic() - began, folder)
    kept_text = json.dumps({"policy": policy.to_json(), "ceilings": dict(ceilings), "seconds": found.seconds})
    folder.write_text(FILE, kept_text + "\n")
    return found


def _read(folder: RunFolder) -> PolicyMeasurement | None:
    if not folder.exists(FILE):
        return None
    try:
        kept = _Kept.model_validate_json(folder.read_text(FILE))
        return PolicyMeasurement(MeasuredPolicy.from_json(kept.policy), kept.ceilings, kept.seconds, folder)
    except (ValidationError, KeyError, TypeError) as error:
        raise folder.damaged(FILE, error) from error
