"""The file that describes an ablation: a base configuration, seeds, and arms that differ from it."""

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


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


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

    @model_validator(mode="after")
    def _keys_fit_the_kind(self) -> Arm:
        if (self.n is not None) != (self.kind == "best_of_n"):
            raise ValueError("n is for kind: best_of_n, which needs it")
        if self.of != UNTRAINED and (self.kind == "train" or self.overrides):
            raise ValueError("of is for kind: best_of_n, which then takes that arm's settings and no overrides of its own")
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
    """Arm that all others are compared with, seed by seed and product by product."""
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
        if self.compare is not None:
            self.arm(self.compare)
        return self

    def arm(self, name: str) -> Arm:
        """The arm of that name. Raises ValueError, with the nearest right name, where there is none."""
        found = {arm.name: arm for arm in self.arms}
        if name not in found:
            raise ValueError(f"there is no arm {name!r}; the nearest is {nearest(name, list(found))}")
        return found[name]


def load_ablation(path: Path) -> Ablation:
    """The ablation that the YAML file at `path` describes.

    Raises:
        ConfigError: a file that cannot be read; or, all in one message, every unknown key (with the nearest right one) and wrong value.
    """
    tree = read_config_file(path)
    mistakes = _unknown_keys(tree, [name for name in Ablation.model_fields], "")
    arms = tree.get("arms")
    if not isinstance(arms, dict) or not arms:
        raise _wrong(path, [*mistakes, "arms: a mapping of names to arms is needed, like dpo: {overrides: [objective=dpo]}"])
    rows = []
    for name, content in arms.items():
        row = {} if content is None else content
        if not isinstance(row, dict):
            mistakes.append(f"arms.{name} = {row!r:.60}: a mapping is needed, like {{overrides: [objective=dpo]}}")
            continue
        mistakes += _unknown_keys(row, [key for key in Arm.model_fields if key != "name"], f"arms.{name}.")
        rows.append({**row, "name": str(name)})
    if "base" not in tree:
        mistakes.append("base: the configuration that all arms start from is needed, like base: demo.yaml")
    if mistakes:
        raise _wrong(path, mistakes)
    values: dict[str, Any] = {"name": path.stem, **tree, "base": path.parent / str(tree["base"]), "arms": rows}
    try:
        return Ablation.model_validate(values)
    except ValidationError as error:
        raise _wrong(path, [_in_words(fault, list(arms)) for fault in error.errors()]) from error


def _unknown_keys(tree: dict[Any, Any], known: list[str], prefix: str) -> list[str]:
    return [f"{prefix}{key}: there is no such key; the nearest is {prefix}{nearest(str(key), known)}" for key in tree if key not in known]


def _in_words(fault: Any, names: list[str]) -> str:
    place = [str(part) for part in fault["loc"]]
    if place[:1] == ["arms"] and len(place) > 1 and place[1].isdigit():
        place[1] = str(names[int(place[1])])
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{'.'.join(place)}: {message}" if place else message


def _wrong(path: Path, mistakes: list[str]) -> ConfigError:
    return ConfigError("\n".join([f"{path} is wrong:", *(f"  {mistake}" for mistake in mistakes)]))
