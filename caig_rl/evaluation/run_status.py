"""How a run stands, read from its folder alone: it works while the run goes on, after it, and from another machine."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from caig_rl.errors import UserError
from caig_rl.evaluation.run_folder import RunFolder
from caig_rl.evaluation.run_lock import Driver, driver_is_alive, last_driver
from caig_rl.evaluation.summary import RunSummary, read_summary
from caig_rl.types import Outcome

SILENT_S = 60.0
"""A running loop writes `live.json` every few seconds; after this long it has died, or cannot write."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Everything that the table shows."""

    name: str
    state: str
    """"starting", "running", "gone" (it says it runs, and its driver is dead), "silent" (it says so, but writes nothing), or the summary's
    own word."""
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
    summary = read_summary(folder) if folder.exists("summary.json") else None
    live = _read_live(folder)
    silent = None if not live else max(0.0, (time.time() if now is None else now) - live["written_at"])
    state = "starting" if summary is None else str(summary.status)
    if state in ("starting", "running"):
        if driver is not None and not driver_is_alive(folder, driver, now):
            state = "gone"
        elif silent is not None and silent > SILENT_S:
            state = "silent"
    return RunStatus(folder.name, state, silent, summary, live, folder.read_metrics(), _failures(folder, failures), driver)


def _read_live(folder: RunFolder) -> dict[str, Any]:
    if not folder.exists("live.json"):
        return {}
    try:
        live: dict[str, Any] = json.loads(folder.read_text("live.json"))
    except json.JSONDecodeError as error:
        raise folder.damaged("live.json", error) from error
    return live


def _failures(folder: RunFolder, count: int) -> list[dict[str, Any]]:
    if not folder.exists("ledger.parquet"):
        return []
    table = folder.read_table("ledger.parquet")
    failed = table.filter(pc.equal(table["outcome"], Outcome.FAILED.value))
    rows: list[dict[str, Any]] = failed.slice(max(0, failed.num_rows - count)).to_pylist()
    return rows
