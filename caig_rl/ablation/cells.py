"""The cells of an ablation: one arm on one seed each, with its configuration, in the order in which they are run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caig_rl.ablation.config import UNTRAINED, Ablation, Arm
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

    @property
    def name(self) -> str:
        """Its folder in the ablation's."""
        return cell_name(self.arm.name, self.seed)

    @property
    def source(self) -> str | None:
        """The cell whose trained policy it picks from; None where it needs no other cell."""
        return None if self.arm.of == UNTRAINED else cell_name(self.arm.of, self.seed)


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
        ConfigError: a wrong key or value in any arm, an unknown arm, or a seed that the ablation has not.
    """
    chosen = _chosen(ablation, only, seeds)
    shared = [*ablation.overrides, *overrides]
    named = any(text.partition("=")[0].strip() == "run.name" for text in overrides)
    base = load_config(ablation.base, shared)
    name = base.run.name if named else ablation.name
    if not base.world.judge:
        raise ConfigError("world.judge is false: without a judge there is no true CTR to compare arms by")
    root = RunFolder(base.run.root, name).url
    made = []
    for seed in ablation.seeds:
        # A cell that picks from another's policy comes after it.
        for arm in sorted(ablation.arms, key=lambda one: one.of != UNTRAINED):
            trained = arm if arm.of == UNTRAINED else ablation.arm(arm.of)
            own = [f"run.root={root}", f"run.name={cell_name(arm.name, seed)}", f"run.seed={seed}"]
            made.append(_cell(ablation, arm, seed, [*shared, *trained.overrides, *own], base))
    return Plan(ablation, base.run.root, name, tuple(cell for cell in made if (cell.arm.name, cell.seed) in chosen), tuple(made))


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


def _cell(ablation: Ablation, arm: Arm, seed: int, overrides: list[str], base: Config) -> Cell:
    try:
        config = load_config(ablation.base, overrides)
    except ConfigError as error:
        raise ConfigError(f"arm {arm.name}: {error}") from error
    if arm.kind == "best_of_n" and config.segments.names:
        raise ConfigError(f"arm {arm.name}: best_of_n picks one creative for everybody; it cannot be of an arm with segments.names")
    # Who picks by a reward needs its scores. A run that learns from no model of clicks reads none of the initial policy's.
    own = arm.kind == "best_of_n" or config.reward.kind == "model"
    return Cell(arm, seed, config, config if own else config.model_copy(update={"reward": base.reward}))
