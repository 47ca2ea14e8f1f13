"""The cells of an ablation: one arm on one seed each, with its configuration, in the order in which they are run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from caig_rl.ablation.config import UNTRAINED, Ablation, Arm
from caig_rl.ablation.rewards import RewardToMake, distinct
from caig_rl.config.changes import ROUNDS, changes_between, identifies_the_run
from caig_rl.config.keys import values
from caig_rl.config.load import load_config, load_config_text
from caig_rl.config.schema import Config
from caig_rl.errors import ConfigError
from caig_rl.runs.folder import RunFolder

_NOT_SEEN = ("world.num_products", "evaluation.prompts_per_product")
"""Keys of the sections below that the measurement of an initial policy does not depend on."""
_SCORED_BY = ("reward.kind", "reward.model", "reward.dtype")


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm on one seed."""

    arm: Arm
    seed: int
    config: Config
    """Of its run; a best-of-N arm has that of whose creatives it picks from."""
    measured_by: Config
    """What the initial policy is measured by: `config`, but for a reward that is not the arm's own business."""
    reward: RewardToMake | None = None
    """The model that scores, where the ablation makes it."""

    @property
    def name(self) -> str:
        """Its folder in the ablation's."""
        return cell_name(self.arm.name, self.seed)

    @property
    def source(self) -> str | None:
        """The cell whose trained policy it picks from; None where it needs no other cell."""
        return None if self.arm.of == UNTRAINED else cell_name(self.arm.of, self.seed)

    @property
    def world(self) -> str:
        """Whose clicks on whose products, in words. CTRs of two worlds do not compare."""
        world, catalog = self.config.world, self.config.catalog.path
        trap = " with a varied trap" if world.trap == "varied" else "" if world.trap else " without a trap"
        return f"world {world.seed}{trap}{'' if catalog is None else f', products of {catalog}'}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run, and where."""

    ablation: Ablation
    root: str
    """Path or URI that holds the ablation's folder."""
    name: str
    cells: tuple[Cell, ...]
    """Those selected, seed by seed: each seed is a comparison of its own, early."""
    every_cell: tuple[Cell, ...]
    """Those not selected too."""

    @property
    def folder(self) -> RunFolder:
        """The ablation's own."""
        return RunFolder(self.root, self.name)

    @property
    def rewards(self) -> list[RewardToMake]:
        """What the selected cells need made, each once, in the order in which they need it."""
        return distinct(cell.reward for cell in self.cells)

    @property
    def main_world(self) -> str:
        """That of the arm that others are compared with, else of the first."""
        return self.world_of(self.ablation.compare or self.ablation.arms[0].name)

    def world_of(self, arm: str) -> str:
        """The world of all cells of an arm."""
        return next(cell.world for cell in self.every_cell if cell.arm.name == arm)

    def is_bound(self, arm: str) -> bool:
        """True where the true CTR itself is the arm's reward."""
        return next(cell.config.reward.kind == "world" for cell in self.every_cell if cell.arm.name == arm)

    def compared_with(self, arm: str) -> str | None:
        """The arm of the same world that `arm` is compared with; None where there is none, or it is `arm` itself."""
        other = self.ablation.arm(arm).compare or self.ablation.compare
        return None if other in (None, arm) or self.world_of(arm) != self.world_of(str(other)) else other

    def cell_folder(self, name: str) -> RunFolder:
        """The run folder of a cell."""
        return RunFolder(self.folder.url, name)

    def initial_prompts(self, cell: Cell) -> int:
        """Prompts a product that the initial policy behind `cell` is measured with: enough for every cell of the same initial policy."""
        key = measured_key(cell.measured_by)
        sharing = [one for one in self.every_cell if measured_key(one.measured_by) == key]
        asked = [one.arm.n or 1 for one in sharing if one.source is None]
        return max(*(one.config.evaluation.prompts_per_product for one in sharing), *asked)

    def trained_prompts(self, source: str) -> int:
        """Prompts a product that the final policy of the cell `source` is measured with: enough for every arm that picks from it."""
        return max(one.arm.n or 1 for one in self.every_cell if one.source == source)


def cell_name(arm: str, seed: int) -> str:
    """Name of a cell's folder."""
    return f"{arm}-seed{seed}"


def make_plan(
    ablation: Ablation, overrides: Sequence[str] = (), only: Sequence[str] | None = None, seeds: Sequence[int] | None = None
) -> Plan:
    """Resolve every cell's configuration: the base, what all arms share, the command line, the arm.

    Args:
        ablation: the file.
        overrides: the command line's. `run.name` and `run.root` say where the ablation lies.
        only: arms to run; None: all.
        seeds: seeds to run; None: all.

    Raises:
        ConfigError: a wrong key or value in any arm, an unknown arm, a seed that the ablation has not, a reward model that cannot be made,
            or arms of two worlds that are compared.
    """
    chosen = _chosen(ablation, only, seeds)
    shared = [*ablation.overrides, *overrides]
    named = any(text.partition("=")[0].strip() == "run.name" for text in overrides)
    base = load_config(ablation.base, shared)
    name = base.run.name if named else ablation.name
    if not base.world.judge:
        raise ConfigError("world.judge is false: without a judge there is no true CTR to compare arms by")
    folder = RunFolder(base.run.root, name)
    if ablation.rewards and not folder.is_local:
        raise ConfigError(f"run.root={base.run.root}: reward models are made on a disk; name one that every node sees")
    made = []
    for seed in ablation.seeds:
        # A cell that picks from another's policy comes after it.
        for arm in sorted(ablation.arms, key=lambda one: one.of != UNTRAINED):
            trained = arm if arm.of == UNTRAINED else ablation.arm(arm.of)
            own = [f"run.root={folder.url}", f"run.name={cell_name(arm.name, seed)}", f"run.seed={seed}"]
            made.append(_cell(ablation, arm, seed, [*shared, *trained.overrides, *own], base, trained.reward))
    plan = Plan(ablation, base.run.root, name, tuple(cell for cell in made if (cell.arm.name, cell.seed) in chosen), tuple(made))
    _refuse_two_worlds(plan)
    return plan


def measured_key(config: Config) -> str:
    """Name of the settings that the measurement of an initial policy depends on: policies of one key are measured once."""
    sections = ("world.", "catalog.", "imaging.", "renderer.", "policy.", "evaluation.")
    found: dict[str, Any] = {"run.seed": config.run.seed}
    for key, value in values(config).items():
        if key in _SCORED_BY or (key.startswith(sections) and key not in _NOT_SEEN and identifies_the_run(key)):
            found[key] = value
    if config.segments.names:  # named only then, so that measurements of before there were segments keep their names
        found["segments.names"] = config.segments.names
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()[:8]


def refuse_other_settings(cell: Cell, folder: RunFolder) -> None:
    """Refuse a finished cell whose settings are no longer those of the plan: its figures would stand under a wrong name.

    Raises:
        ConfigError: with every setting that differs.
    """
    before = load_config_text(folder.read_text("config.yaml"), folder.path("config.yaml"))
    changes = [one for one in changes_between(before, cell.config) if one.key == ROUNDS or not one.is_free]
    if cell.reward is not None:
        # The model's name holds all that it was made by; the ablation's folder may have been moved.
        changes = [one for one in changes if one.key != "reward.model" or PurePath(one.before).name != cell.reward.name]
    if changes:
        lines = [f"  {one}" for one in changes]
        raise ConfigError(
            "\n".join(
                [f"{cell.name} was finished with other settings:", *lines, "Take them back, rename the arm, or give another run.name."]
            )
        )


def _chosen(ablation: Ablation, only: Sequence[str] | None, seeds: Sequence[int] | None) -> set[tuple[str, int]]:
    try:
        arms = [ablation.arm(name).name for name in only] if only is not None else [arm.name for arm in ablation.arms]
    except ValueError as error:
        raise ConfigError(f"--only: {error}") from error
    missing = [seed for seed in seeds or () if seed not in ablation.seeds]
    if missing:
        raise ConfigError(f"--seeds {missing[0]}: the ablation has the seeds {', '.join(map(str, ablation.seeds))}")
    return {(arm, seed) for arm in arms for seed in (ablation.seeds if seeds is None else seeds)}


def _cell(ablation: Ablation, arm: Arm, seed: int, overrides: list[str], base: Config, recipe: str | None) -> Cell:
    try:
        reward, config = _resolved(ablation, overrides, recipe)
    except ConfigError as error:
        raise ConfigError(f"arm {arm.name}: {error}") from error
    if arm.kind == "best_of_n" and config.segments.names:
        raise ConfigError(f"arm {arm.name}: best_of_n picks one creative for everybody; it cannot be of an arm with segments.names")
    # Who picks by a reward needs its scores. A run that learns from no model of clicks reads none of the initial policy's, nor does one
    # whose model's accuracy is known from its making: it shares the measurement of the base's reward, where its world is the base's.
    of_base = config.reward.kind != "model" or (reward is not None and config.world == base.world)
    own = arm.kind == "best_of_n" or not of_base
    return Cell(arm, seed, config, config if own else config.model_copy(update={"reward": base.reward}), reward)


def _resolved(ablation: Ablation, overrides: list[str], recipe: str | None) -> tuple[RewardToMake | None, Config]:
    if recipe is None:
        return None, load_config(ablation.base, overrides)
    found = ablation.recipe(recipe)
    with_recipe = [*overrides, *found.overrides, "reward.kind=model"]
    config = load_config(ablation.base, with_recipe)
    reward = RewardToMake(found, config, config.run.root)
    reward.refuse()
    return reward, load_config(ablation.base, [*with_recipe, f"reward.model={reward.folder}"])


def _refuse_two_worlds(plan: Plan) -> None:
    for arm in plan.ablation.arms:
        if arm.compare is not None and plan.world_of(arm.name) != plan.world_of(arm.compare):
            raise ConfigError(
                f"arm {arm.name} is in {plan.world_of(arm.name)}, and {arm.compare}, which it is compared with, in "
                f"{plan.world_of(arm.compare)}: CTRs of two worlds do not compare"
            )
