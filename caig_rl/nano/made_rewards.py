"""Makes the reward models that an ablation names: draws creatives by its untrained policy, has them clicked, learns from the clicks.

Both steps run in processes of their own on this machine, beside Ray. What is drawn is kept file by file; a training that was cut short
begins anew.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable

import torch

from caig_rl.ablation.rewards import METRICS_FILE, RewardToMake
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward.loading import load_reward
from caig_rl.nano.autoencoder import Progress
from caig_rl.nano.drawn_parts import draw_parts, missing_parts, read_parts
from caig_rl.nano.isolated import Stopped, in_own_process
from caig_rl.nano.reward import counts_by_segment, heldout_metrics, train_on_clicks
from caig_rl.world.judge import WorldJudge


def make_reward(wanted: RewardToMake, progress: Progress, is_stopped: Callable[[], bool], threads: int) -> bool:
    """Make it, unless it is made; False where `is_stopped` came first.

    Raises:
        UserError: a model folder that is none, no epoch that ended with a finite loss, or a process that died.
    """
    config, recipe = wanted.config, wanted.recipe
    try:
        if not wanted.is_made and missing_parts(wanted.creatives, recipe.products):
            policy = resolve_model_folder(config.policy.model, "policy", config.policy.trust_remote_code)
            models = (policy, resolve_model_folder(config.renderer.model, "renderer"))
            counts = (recipe.products, recipe.candidates, threads)
            in_own_process(draw_parts, wanted.creatives, *models, config, *counts, progress=progress, is_stopped=is_stopped)
        if not wanted.is_made:
            in_own_process(train_reward, wanted, threads, progress=progress, is_stopped=is_stopped)
    except Stopped:
        return False
    return True


def train_reward(wanted: RewardToMake, threads: int, progress: Progress) -> None:
    """Train on the creatives that are drawn; the folder appears whole. Raises UserError as `make_reward` does."""
    torch.set_num_threads(threads)
    recipe, config, began = wanted.recipe, wanted.config, time.monotonic()
    train = config.reward.train.model_copy(update={"workers": 1})
    backbone = resolve_model_folder(train.backbone, "backbone")
    creatives, judge = read_parts(wanted.creatives, config, recipe.products), WorldJudge.of(config.world)
    partial = wanted.folder.with_name(f".{wanted.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    counts = counts_by_segment(creatives, judge, recipe.seed, recipe.impressions, config.segments.names)
    heldout = train_on_clicks(backbone, creatives, counts, train, config.clicks, recipe.seed, partial, progress)
    shown, clicks = counts[""]
    metrics: dict[str, float] = heldout_metrics(load_reward(partial), creatives, clicks / shown, heldout, judge)
    metrics["train_s"] = time.monotonic() - began
    (partial / METRICS_FILE).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    partial.replace(wanted.folder)
