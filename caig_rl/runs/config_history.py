"""`config.yaml` of a run, and what it was before: `config-history/N.yaml`, one file for every resume that changed a setting."""

from __future__ import annotations

from collections.abc import Callable

from caig_rl.config.changes import changes_between
from caig_rl.config.load import config_yaml, load_config_text
from caig_rl.config.schema import Config
from caig_rl.runs.folder import RunFolder


def write_run_config(config: Config, folder: RunFolder, rounds_done: int, note: Callable[[str], None]) -> None:
    """Write `config.yaml`. Where it says otherwise than the old one, that is kept, and `note` is told of every change.

    `rounds_done`: the old one held until then.
    """
    if folder.exists("config.yaml"):
        old = folder.read_text("config.yaml")
        changes = changes_between(load_config_text(old, folder.path("config.yaml")), config)
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
