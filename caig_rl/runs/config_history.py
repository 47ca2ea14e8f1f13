"""`config.yaml` of a run, and what it was before: `config-history/N.yaml`, one file for every resume that changed a setting."""

from __future__ import annotations

from collections.abc import Callable

from caig_rl.config.changes import changes_between
from caig_rl.config.load import config_yaml, load_run_config
from caig_rl.config.schema import Config
from caig_rl.config.yaml_source import read_config_text
from caig_rl.errors import ConfigError
from caig_rl.runs.folder import RunFolder


def as_begun(config: Config, folder: RunFolder) -> Config:
    """`config` to go on with the run in `folder`: a run from before `catalog.heldout_share` was a key goes on without held-out products.

    A share that `config` names stands, and is refused later as any other changed setting.
    """
    if config.catalog.heldout_share is not None or not folder.exists("config.yaml"):
        return config
    try:
        begun = read_config_text(folder.read_text("config.yaml"), folder.path("config.yaml")).get("catalog") or {}
    except ConfigError:  # damaged: refused later where there is a checkpoint, and written anew where there is none
        return config
    if "heldout_share" in begun:
        return config
    return config.model_copy(update={"catalog": config.catalog.model_copy(update={"heldout_share": 0.0})})


def write_run_config(config: Config, folder: RunFolder, rounds_done: int, note: Callable[[str], None]) -> None:
    """Write `config.yaml`. Where it says otherwise than the old one, that is kept, and `note` is told of every change.

    `rounds_done`: the old one held until then.
    """
    if folder.exists("config.yaml"):
        old = folder.read_text("config.yaml")
        changes = changes_between(load_run_config(old, folder.path("config.yaml")), config)
        if changes:
            said = "".join(f"# {change}\n" for change in changes)
            folder.write_text(f"config-history/{_next_number(folder)}.yaml", f"# until round {rounds_done} was done, then\n{said}{old}")
        for change in changes:
            note(f"changed after round {rounds_done}: {change}")
    folder.write_text("config.yaml", config_yaml(config))


def _next_number(folder: RunFolder) -> int:
    number = 1
    while folder.exists(f"config-history/{number}.yaml"):
        number += 1
    return number
