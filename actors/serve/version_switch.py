"""Changes which policy version is live on the running service.

Nothing restarts: the running replicas are told the new routing (`user_config`), and requests under way end with the version they began
with. Going back is the same switch to the version before.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.serve.lifecycle import connected, deploy
from caig_rl.errors import UserError
from caig_rl.serving.choice.arms import Routing
from caig_rl.serving.log import service_log
from caig_rl.serving.versions import VersionStore, rolled_back
from caig_rl.wording import duration

logger = logging.getLogger(__name__)

SWITCH_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Switch:
    """What changed."""

    routing: Routing
    seconds: float
    """From the decision until the service answered with the new routing."""


def rollback(root: Path) -> Switch:
    """Drop the candidate, or bring back the version that was live before.

    Raises:
        UserError: no service runs, or there is nothing to go back to.
    """
    with connected(root) as settings, service_log(root, "operator", settings["logs"]["level"]):
        return switch(root, settings, rolled_back(VersionStore(root).routing()))


def switch(root: Path, settings: dict[str, Any], routing: Routing) -> Switch:
    """Make `routing` that of the service at `root`, which runs with `settings`.

    Raises:
        UserError: it does not answer with the new routing in time.
    """
    started = time.monotonic()
    # First what a restart would read: a replica that starts now must not start on the old version.
    VersionStore(root).set_routing(routing)
    deploy(settings, routing, SWITCH_TIMEOUT_S)
    address = f"http://{settings['serve']['host']}:{settings['serve']['port']}/healthz"
    while time.monotonic() - started < SWITCH_TIMEOUT_S:
        if _live_at(address) == (routing.live, routing.candidate):
            seconds = time.monotonic() - started
            facts = {"policy_version": routing.live, "candidate": routing.candidate, "traffic": routing.traffic}
            logger.info("live: %s after %.2f s", routing.live, seconds, extra=facts)
            return Switch(routing, seconds)
        time.sleep(0.1)
    raise UserError(f"the service does not answer with {routing.live} after {duration(SWITCH_TIMEOUT_S)}; see its log.")


def _live_at(address: str) -> tuple[str, str | None] | None:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            content = json.load(answer)
    except (urllib.error.URLError, TimeoutError, json.JSONDecodeError):  # asked again until the time-out
        return None
    return content["policy_version"], content["candidate"]
