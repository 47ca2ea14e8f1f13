"""How a run stands, read from its folder alone: it works while the run goes on, after it, and from another machine."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
import yaml

from caig_rl.errors import UserError
from caig_rl.runs.driver_lock import Driver, driver_is_alive, last_driver
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.ledger import read_rows
from caig_rl.runs.summary import RunSummary, read_summary
from caig_rl.types import Outcome

CONFIG_FILE = "config.yaml"
LIVE_FILE = "live.json"
_LIVE_KEYS = (
    "written_at",
    "rounds_done",
    "rounds_planned",
    "version",
    "pools",
    "stage_seconds",
    "counts",
    "slots",
    "products",
)
SILENT_S = 60.0
"""A running loop writes `live.json` every few seconds; after this long it has died, or cannot write."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Everything that the table shows."""

    name: str
    state: str
    """"starting", "running", "silent" (it says so, but writes nothing), "gone" (it says so, and its driver is dead), "not begun" (the
    driver ended before it had written the config), or the summary's own word."""
    silent_s: float | None
    """Seconds since the loop last wrote; None where it has never."""
    summary: RunSummary | None
    live: dict[str, Any]
    """`live.json`; empty before the first."""
    rounds: list[dict[str, object]]
    """Rows of `metrics.jsonl`, oldest first."""
    failures: list[dict[str, Any]]
    """Ledger rows of the last failed products, newest last."""
    driver: Driver | None = None
    """Who wrote the folder last; None where nobody said so."""


def read_status(folder: RunFolder, now: float | None = None, failures: int = 5) -> RunStatus:
    """Read the folder. `now`: seconds since the epoch.

    Raises:
        UserError: it is not a run's folder.
    """
    driver = last_driver(folder)
    if driver is None and not folder.exists("config.yaml"):
        raise UserError(
            f"{folder.url} is not a run folder: it holds no config.yaml. Give one like runs/demo, or the address of a dashboard."
        )
    if folder.exists(CONFIG_FILE):  # a driver that has only begun has written none yet
        read_config(folder)
    summary = read_summary(folder) if folder.exists("summary.json") else None
    live = read_live(folder)
    silent = None if not live else max(0.0, (time.time() if now is None else now) - live["written_at"])
    state = "starting" if summary is None else str(summary.status)
    if state in ("starting", "running"):
        if driver is not None and not driver_is_alive(folder, driver, now):
            state = "gone" if folder.exists(CONFIG_FILE) else "not begun"
        elif silent is not None and silent > SILENT_S:
            state = "silent"
    return RunStatus(folder.name, state, silent, summary, live, folder.read_metrics(), _failures(folder, failures), driver)


def read_config(folder: RunFolder) -> str:
    """`config.yaml` as text. Raises UserError where it is missing or damaged."""
    text = folder.read_text(CONFIG_FILE)
    try:
        if not isinstance(yaml.safe_load(text), dict):
            raise folder.damaged(CONFIG_FILE, ValueError("it is no configuration"))
    except yaml.YAMLError as error:
        raise folder.damaged(CONFIG_FILE, ValueError("it is no YAML")) from error
    return text


def read_live(folder: RunFolder) -> dict[str, Any]:
    """`live.json`, empty before the first. Raises UserError where it is damaged."""
    if not folder.exists(LIVE_FILE):
        return {}
    try:
        live = json.loads(folder.read_text(LIVE_FILE))
        missing = _LIVE_KEYS if not isinstance(live, dict) else [key for key in _LIVE_KEYS if key not in live]
        if missing:
            raise ValueError(f"it lacks {missing[0]!r}")
    except ValueError as error:
        raise folder.damaged(LIVE_FILE, error) from error
    found: dict[str, Any] = live
    return found


def last_written_s(folder: RunFolder) -> float | None:
    """When a loop last wrote `live.json`, in seconds since the epoch; None where that is not known."""
    try:
        return float(read_live(folder)["written_at"]) if folder.exists(LIVE_FILE) else None
    except UserError:  # only a view: the run that is about to write it anew needs none of it
        return None


def _failures(folder: RunFolder, count: int) -> list[dict[str, Any]]:
    table = read_rows(folder)
    failed = table.filter(pc.equal(table["outcome"], Outcome.FAILED.value))
    rows: list[dict[str, Any]] = failed.slice(max(0, failed.num_rows - count)).to_pylist()
    return rows
