"""The plan of the application: what `serve deploy` takes. It loads no model library, so that a rollback takes seconds."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from caig_rl.serving.choice.arms import Routing

NAME = "caig-rl"
IMPORT_PATH = "actors.serve.application:build"
ROUTED = ("Ingress", "Policy")
"""Deployments whose `user_config` holds the routing."""


def deployment_plan(
    config: dict[str, Any] | str, host: str, port: int, routing: Routing | None = None, stopping: bool = False
) -> dict[str, Any]:
    """What `serve deploy` takes: the application by import path, so that a changed `user_config` alone keeps every process.

    `stopping`: the ingress lets no request in any more and finishes those under way.
    """
    overrides = [] if routing is None else [{"name": name, "user_config": user_config(routing, stopping)} for name in ROUTED]
    application = {"name": NAME, "route_prefix": "/", "import_path": IMPORT_PATH, "args": {"config": config}, "deployments": overrides}
    return {"proxy_location": "HeadOnly", "http_options": {"host": host, "port": port}, "applications": [application]}


def user_config(routing: Routing, stopping: bool = False) -> dict[str, Any]:
    """The part of the application that changes while it runs."""
    changing = {"routing": json.loads(json.dumps(asdict(routing)))}
    return changing | {"stopping": True} if stopping else changing
