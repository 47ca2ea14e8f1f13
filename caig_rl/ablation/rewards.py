"""Reward models of an ablation's own: which are needed, where they lie, and what they are known by.

    ABLATION/creatives/world0-KEY/   creatives of the untrained policy, shared by all recipes of the same policy, renderer and world
    ABLATION/rewards/NAME-KEY/       the trained model; its `metrics.json` is written last: with it the model is made

Plain: who makes them is given to whoever runs the cells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caig_rl.ablation.config import RewardRecipe
from caig_rl.config.changes import identifies_the_run
from caig_rl.config.keys import values
from caig_rl.config.schema import Config
from caig_rl.errors import ConfigError

METRICS_FILE = "metrics.json"
"""What a reward model's folder says of its accuracy (`caig_rl.nano.reward.heldout_metrics`)."""
_PAINTED_BY = ("policy.", "renderer.", "imaging.")
_DRAWN_FOR = ("world.seed", "world.unseen_categories")
_WHERE_IT_RUNS = tuple(
    f"reward.train.{name}" for name in ("out", "start_from", "workers", "num_cpus", "num_gpus", "threads", "max_failures")
)


@dataclass(frozen=True, slots=True)
class RewardToMake:
    """A recipe under the settings of the cells that use it."""

    recipe: RewardRecipe
    config: Config
    """A cell's: its policy, renderer, imaging, world, `reward.train` and `clicks` are read."""
    root: str
    """The ablation's folder, on a local disk."""

    @property
    def name(self) -> str:
        """One for each recipe under the same settings."""
        recipe = self.recipe
        found = _chosen(
            self.config, ("reward.train.", *_PAINTED_BY), (*_DRAWN_FOR, "world.trap", "clicks.policy", "clicks.max_pairs_per_test")
        )
        if self.config.segments.names:  # whose clicks it learns apart
            found["segments.names"] = self.config.segments.names
        own = {"recipe": [recipe.products, recipe.candidates, recipe.impressions, recipe.seed]}
        return f"{recipe.name}-{_key(found | own)}"

    @property
    def folder(self) -> Path:
        """Of the trained model."""
        return Path(self.root) / "rewards" / self.name

    @property
    def creatives(self) -> Path:
        """Of the creatives that it learns from. What they are clicked by does not count, nor how many of them a recipe takes."""
        drawn = _chosen(self.config, _PAINTED_BY, _DRAWN_FOR) | {"candidates": self.recipe.candidates}
        return Path(self.root) / "creatives" / f"world{self.config.world.seed}-{_key(drawn)}"

    @property
    def is_made(self) -> bool:
        """True once it is whole."""
        return (self.folder / METRICS_FILE).is_file()

    def refuse(self) -> None:
        """Raise ConfigError where it cannot be made."""
        train, policy = self.config.reward.train, self.config.policy
        if self.config.catalog.path is not None:
            raise ConfigError(f"its reward {self.recipe.name} is made from clicks of the click world, and catalog.path names a catalog")
        if train.start_from is not None:
            raise ConfigError(f"its reward {self.recipe.name} is made from a backbone; leave reward.train.start_from empty")
        if train.image_size > policy.image_size:
            raise ConfigError(
                f"its reward {self.recipe.name} would see {train.image_size} pixels a side (reward.train.image_size) of creatives that are "
                f"kept at {policy.image_size} (policy.image_size)"
            )


StageProgress = Callable[[str, int, int, float], None]
"""(stage, steps done, steps in all, loss or NaN)."""
MakeReward = Callable[[RewardToMake, StageProgress, Callable[[], bool]], bool]
"""Makes the model, or goes on with it where it stands; returns False where the last argument told it to stop. It raises UserError where it
cannot be made."""


def distinct(rewards: Iterable[RewardToMake | None]) -> list[RewardToMake]:
    """Each model once, in order."""
    return list({reward.name: reward for reward in rewards if reward is not None}.values())


def accuracy_of(reward: RewardToMake) -> tuple[float, float] | None:
    """Share of held-out pairs in the order of their clicks, by the model and by the true CTRs; None where it is not made."""
    if not reward.is_made:
        return None
    found = json.loads((reward.folder / METRICS_FILE).read_text(encoding="utf-8"))
    return float(found["heldout_accuracy"]), float(found["ceiling"])


def _chosen(config: Config, sections: tuple[str, ...], keys: tuple[str, ...]) -> dict[str, Any]:
    """The settings below `sections` that are more than places and sizes of machines, and `keys`."""
    found = {}
    for key, value in values(config).items():
        counts = key not in _WHERE_IT_RUNS if key.startswith("reward.train.") else identifies_the_run(key)
        if key in keys or (key.startswith(sections) and counts):
            found[key] = value
    return found


def _key(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:8]
