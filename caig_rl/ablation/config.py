"""The file that describes an ablation: a base configuration, seeds, arms that differ from it, and reward models made for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from caig_rl.config.keys import nearest
from caig_rl.config.yaml_source import read_config_file
from caig_rl.errors import ConfigError

UNTRAINED = "untrained"
"""Value of `of`: the policy as every run begins with it."""
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_OWN_KEYS = ("run.seed", "run.name", "run.root", "cluster.")
"""What an arm cannot override: each cell has its own seed and name, and all share one cluster."""
_SCORER_KEYS = ("reward.kind=", "reward.model=")
_RECIPE_KEYS = ("reward.train.", "clicks.policy=", "clicks.max_pairs_per_test=")
"""What a recipe may override: all else follows from the cells that use it."""
_NOT_IN_RECIPES = ("reward.train.start_from=", "reward.train.out=")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class RewardRecipe(_Part):
    """How a reward model of the ablation's own is made: the untrained policy's creatives, as a cell would paint them, are clicked by the
    shoppers of the cell's world, and learned from."""

    name: str = Field(pattern=_NAME)
    about: str = ""
    """What a reader is told about it."""
    overrides: tuple[str, ...] = ()
    """How it is trained: "reward.train.form=vam", "clicks.policy=official"."""
    products: int = Field(1800, ge=3)
    """Products whose creatives are clicked, of a split of the world that no run trains on or is measured on. The shipped model's number."""
    candidates: int = Field(6, ge=2)
    """Creatives of each."""
    impressions: int = Field(5000, ge=1)
    """Times that each creative is shown."""
    seed: int = Field(0, ge=0)
    """Of clicks, of the split of products, and of new weights; no run's seed, because all seeds of an arm share the model."""

    @model_validator(mode="after")
    def _only_training_is_its_own(self) -> RewardRecipe:
        for text in self.overrides:
            if not text.startswith(_RECIPE_KEYS) or text.startswith(_NOT_IN_RECIPES):
                allowed = ", ".join(key.rstrip(".=") for key in _RECIPE_KEYS)
                raise ValueError(
                    f"{text}: a recipe says how its model is trained from its backbone ({allowed}); the rest follows from the cells"
                )
        return self


class Arm(_Part):
    """One way of doing it, run on every seed."""

    name: str = Field(pattern=_NAME)
    about: str = ""
    """What a reader of the page is told about it."""
    kind: Literal["train", "best_of_n"] = "train"
    """"train": a run. "best_of_n": nothing is trained; of `n` painted creatives the reward model picks the one that is shown."""
    overrides: tuple[str, ...] = ()
    """What differs from the base: "key=value"."""
    n: int | None = Field(None, ge=1, le=64)
    """best_of_n: how many are painted for each that is shown."""
    of: str = UNTRAINED
    """best_of_n: whose creatives; the name of an arm that trains, or "untrained"."""
    reward: str | None = None
    """Recipe of the reward model that scores. Empty: the base's, or what `overrides` say."""
    compare: str | None = None
    """Arm that this one is compared with, in place of the ablation's: for arms of another world, whose CTRs compare among themselves."""

    @model_validator(mode="after")
    def _keys_fit_the_kind(self) -> Arm:
        if (self.n is not None) != (self.kind == "best_of_n"):
            raise ValueError("n is for kind: best_of_n, which needs it")
        if self.of != UNTRAINED and (self.kind == "train" or self.overrides or self.reward):
            raise ValueError("of is for kind: best_of_n, which then takes that arm's settings, and no overrides or reward of its own")
        own = [text for text in self.overrides if text.startswith(_SCORER_KEYS)]
        if self.reward is not None and own:
            raise ValueError(f"{own[0]}: the arm's reward is made by the recipe {self.reward}; give one of the two")
        for text in self.overrides:
            if text.startswith(_OWN_KEYS):
                raise ValueError(f"{text}: seed, name and place of a cell follow from the ablation, and all cells share one cluster")
        return self


class Ablation(_Part):
    """The whole file."""

    name: str = Field(pattern=_NAME)
    """Folder of the ablation under the base's `run.root`; by default the file's own name."""
    base: Path
    """The configuration that every arm starts from. In the file: relative to the file's folder."""
    seeds: tuple[int, ...] = Field((0, 1, 2, 3, 4), min_length=1)
    """`run.seed` of the cells of every arm."""
    overrides: tuple[str, ...] = ()
    """What differs from the base in all arms alike."""
    compare: str | None = None
    """Arm that all others of its world are compared with, seed by seed and product by product."""
    rewards: tuple[RewardRecipe, ...] = ()
    """Reward models that are made before the first cell that needs them, each once."""
    arms: tuple[Arm, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_name_something(self) -> Ablation:
        if len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds must differ and be at least 0, not {list(self.seeds)}")
        trained = [arm.name for arm in self.arms if arm.kind == "train"]
        for arm in self.arms:
            if arm.of not in (UNTRAINED, *trained):
                raise ValueError(
                    f"arms.{arm.name}.of: {arm.of!r} is no arm that trains; the nearest is {nearest(arm.of, trained or [UNTRAINED])}"
                )
            if arm.compare is not None:
                self.arm(arm.compare)
            if arm.reward is not None:
                self.recipe(arm.reward)
        if self.compare is not None:
            self.arm(self.compare)
        return self

    def arm(self, name: str) -> Arm:
        """The arm of that name. Raises ValueError, with the nearest right name, where there is none."""
        found = {arm.name: arm for arm in self.arms}
        if name not in found:
            raise ValueError(f"there is no arm {name!r}; the nearest is {nearest(name, list(found))}")
        return found[name]

    def recipe(self, name: str) -> RewardRecipe:
        """The recipe of that name. Raises ValueError, with the nearest right name, where there is none."""
        found = {recipe.name: recipe for recipe in self.rewards}
        if name not in found:
            near = f"; the nearest is {nearest(name, list(found))}" if found else ""
            raise ValueError(f"there is no recipe {name!r} in rewards{near}")
        return found[name]


def load_ablation(path: Path) -> Ablation:
    """The ablation that the YAML file at `path` describes.

    Raises:
        ConfigError: a file that cannot be read; or, all in one message, every unknown key (with the nearest right one) and wrong value.
    """
    tree = read_config_file(path)
    mistakes = _unknown_keys(tree, [name for name in Ablation.model_fields], "")
    arms, rewards = tree.get("arms"), tree.get("rewards") or {}
    if not isinstance(arms, dict) or not arms:
        raise _wrong(path, [*mistakes, "arms: a mapping of names to arms is needed, like dpo: {overrides: [objective=dpo]}"])
    if not isinstance(rewards, dict):
        raise _wrong(path, [*mistakes, "rewards: a mapping of names to recipes is needed, like vam: {overrides: [reward.train.form=vam]}"])
    named = {"arms": _named(arms, "arms", Arm, mistakes), "rewards": _named(rewards, "rewards", RewardRecipe, mistakes)}
    if "base" not in tree:
        mistakes.append("base: the configuration that all arms start from is needed, like base: demo.yaml")
    if mistakes:
        raise _wrong(path, mistakes)
    values: dict[str, Any] = {"name": path.stem, **tree, "base": path.parent / str(tree["base"]), **named}
    try:
        return Ablation.model_validate(values)
    except ValidationError as error:
        names = {"arms": list(arms), "rewards": list(rewards)}
        raise _wrong(path, [_in_words(fault, names) for fault in error.errors()]) from error


def _named(rows: dict[Any, Any], section: str, part: type[_Part], mistakes: list[str]) -> list[dict[str, Any]]:
    """The rows of a mapping of names, each with its own; what is wrong with them is added to `mistakes`."""
    found = []
    for name, content in rows.items():
        row = {} if content is None else content
        if not isinstance(row, dict):
            mistakes.append(f"{section}.{name} = {row!r:.60}: a mapping is needed, like {{overrides: [objective=dpo]}}")
            continue
        mistakes += _unknown_keys(row, [key for key in part.model_fields if key != "name"], f"{section}.{name}.")
        found.append({**row, "name": str(name)})
    return found


def _unknown_keys(tree: dict[Any, Any], known: list[str], prefix: str) -> list[str]:
    return [f"{prefix}{key}: there is no such key; the nearest is {prefix}{nearest(str(key), known)}" for key in tree if key not in known]


def _in_words(fault: Any, names: dict[str, list[Any]]) -> str:
    place = [str(part) for part in fault["loc"]]
    if len(place) > 1 and place[0] in names and place[1].isdigit():
        place[1] = str(names[place[0]][int(place[1])])
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{'.'.join(place)}: {message}" if place else message


def _wrong(path: Path, mistakes: list[str]) -> ConfigError:
    return ConfigError("\n".join([f"{path} is wrong:", *(f"  {mistake}" for mistake in mistakes)]))
