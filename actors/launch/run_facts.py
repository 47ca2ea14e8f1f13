"""What is known of a run before it begins."""

from __future__ import annotations

import json

from actors.telemetry.summary_builder import RunFacts
from caig_rl.config.schema import Config
from caig_rl.config.section import NANO
from caig_rl.data.catalog_split import num_held_out
from caig_rl.interfaces import Judge, ProductSource
from caig_rl.models.folders import resolve_model_folder


def known_facts(config: Config, source: ProductSource, evaluation: ProductSource, judge: Judge | None) -> RunFacts:
    """What the config, the products and the reward model's own folder say beforehand."""
    accuracy = ceiling = None
    # Its own folder speaks for the population the reward model was trained on; on another, the run measures it itself.
    is_known = config.reward.model != NANO or (config.world.seed == 0 and config.world.trap is True)
    if config.reward.kind == "model" and config.catalog.path is None and is_known:
        metrics = resolve_model_folder(config.reward.model, "reward") / "metrics.json"
        if metrics.is_file():
            content = json.loads(metrics.read_text(encoding="utf-8"))
            accuracy, ceiling = content.get("heldout_accuracy"), content.get("ceiling")
    held_out = num_held_out(source, evaluation)
    return RunFacts(
        catalog=config.catalog.path or "products of the click world",
        held_out=held_out > 0,
        products_held_out=held_out,
        simulated=judge is not None and judge.simulated,
        reward_accuracy=accuracy,
        reward_ceiling=ceiling,
    )
