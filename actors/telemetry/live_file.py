"""`live.json` of the run folder: the loop as it is now, for `caig-rl status`, every few seconds."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections import Counter

from actors.telemetry.snapshot import Snapshot
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.status import LIVE_FILE

logger = logging.getLogger(__name__)


def live_json(now: Snapshot) -> dict[str, object]:
    """The snapshot with its lists counted: rounds are in `metrics.jsonl` already."""
    content = {
        field.name: getattr(now, field.name) for field in dataclasses.fields(now) if field.name not in ("rounds", "staleness", "pools")
    }
    content["pools"] = {name: dataclasses.asdict(state) for name, state in now.pools.items()}
    content["staleness"] = {str(behind): count for behind, count in sorted(Counter(now.staleness).items())}
    return {**content, "written_at": time.time()}


def write_live(folder: RunFolder, now: Snapshot) -> None:
    """Write the file. A full or absent disk costs `caig-rl status` its view, not the run."""
    try:
        folder.write_text(LIVE_FILE, json.dumps(live_json(now), indent=1) + "\n")
    except OSError as error:
        logger.warning("no %s: %s", LIVE_FILE, error)
