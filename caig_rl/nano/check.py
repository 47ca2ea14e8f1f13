"""How good the embedded models are, measured afresh: `caig-rl nano check`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caig_rl.config.schema import Config
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.policy import load_policy
from caig_rl.models.renderer import Renderer
from caig_rl.nano.eyes import eyes_accuracy
from caig_rl.nano.renderer import steering, steering_prompts
from caig_rl.nano.scenes_data import draw_pictures
from caig_rl.nano.sight import measure_sight
from caig_rl.world.eyes import WEIGHTS_FOLDER, WIDTHS, load_eyes
from caig_rl.world.products import WorldProducts
from caig_rl.world.vocabulary import draw_spec

_PRODUCTS = 56


@dataclass(frozen=True, slots=True)
class NanoQuality:
    """Shares are fractions."""

    megabytes: float
    """All embedded weights together."""
    eyes: dict[str, dict[str, float]]
    """Eyes -> attribute -> share read rightly on procedural scenes that training did not see."""
    steering: dict[str, float]
    """Attribute -> share recognised in rendered backgrounds; "macro" over surface, wall, prop and light."""
    unusable: float
    """Share of those creatives that the usability gate refuses."""
    sight: dict[str, float]
    """What the policy's own prompts lose, in nats, under another category's picture (without and with the product's text), and text."""
    reward: dict[str, float]
    """Held-out accuracy of the reward model and its ceiling, from its training."""


def measure_steering(
    renderer: Renderer, count: int, on_progress: Callable[[int], None] = lambda done: None
) -> tuple[dict[str, float], float]:
    """(steering shares, share refused by the usability gate) over `count` random prompts around held-out products."""
    rng = np.random.default_rng(5)
    specs = [draw_spec(rng) for _ in range(count)]
    prompts = steering_prompts(specs)
    source = WorldProducts(0, _PRODUCTS, "eval")
    cutouts = source.cutouts([product.product_id for product in source.products])
    rendered = []
    for start in range(0, count, 16):
        stop = min(start + 16, count)
        numbers = range(start, stop)
        rows = renderer.render([cutouts[k % _PRODUCTS] for k in numbers], [[prompts[k]] for k in numbers], list(numbers))
        rendered += [row[0] for row in rows]
        on_progress(stop)
    refused = float(np.mean([not one.report.usable for one in rendered]))
    return steering([one.background for one in rendered], specs, load_eyes("shoppers")), refused


def check_nano(count: int, threads: int, on_progress: Callable[[int], None]) -> NanoQuality:
    """Measure everything; steering over `count` prompts."""
    config = Config()
    held_out = draw_pictures(1000, 4242, with_product=0.75, num_products=280)
    renderer = Renderer(resolve_model_folder("nano", "renderer"), config.renderer, config.imaging, threads)
    shares, refused = measure_steering(renderer, count, on_progress)
    folders = (Path(__file__).parent / "weights", WEIGHTS_FOLDER)
    size = sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
    seen = measure_sight(*load_policy(resolve_model_folder("nano", "policy")), _PRODUCTS)
    sight = {"picture, no text": seen.untitled_picture, "picture": seen.titled_picture, "text": seen.text}
    metrics = json.loads((resolve_model_folder("nano", "reward") / "metrics.json").read_text(encoding="utf-8"))
    eyes = {name: eyes_accuracy(load_eyes(name), held_out) for name in WIDTHS}
    return NanoQuality(size / 1e6, eyes, shares, refused, sight, metrics)
