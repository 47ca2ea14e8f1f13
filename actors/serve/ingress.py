"""The HTTP surface as a Serve deployment. It loads no model library, so that a replica is up in seconds."""

from __future__ import annotations

import hashlib
import logging
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray.serve.handle import DeploymentHandle

from actors.serve.creative_maker import RayMaker
from actors.serve.replica_log import begin_replica_log
from caig_rl.config.schema import Config
from caig_rl.models.folders import resolve_model_folder
from caig_rl.serving.http.app import create_app
from caig_rl.serving.service import Service
from caig_rl.serving.versions import VersionStore, folder_digest, routing_from_json

logger = logging.getLogger(__name__)


class Ingress:
    """The HTTP surface. Every replica has the whole service over the same storage."""

    def __init__(self, config: Config, policy: DeploymentHandle, painter: DeploymentHandle, scorer: DeploymentHandle) -> None:
        begin_replica_log(config, "ingress")
        # Threads that decode pictures give way to the event loop after 1 ms, not 5: a refusal must not wait for them.
        sys.setswitchinterval(0.001)
        maker = RayMaker(policy, painter, scorer, config, models_digest(config))
        self._service = Service(config, maker, VersionStore(Path(config.serve.root)).routing())

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """A new policy version: requests that start from now on follow it. At the service's end, return once all under way are answered."""
        self._service.set_routing(routing_from_json(user_config["routing"]))
        if user_config.get("stopping"):
            left = await self._service.doors.close(self._service.config.serve.limits.request_timeout_s)
            logger.info("no request is let in any more; %d under way were not finished in time", left)

    async def check_health(self) -> None:
        """Answered by the event loop that answers requests: one that is stuck says nothing, and Serve replaces the replica."""

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self._service)


def models_digest(config: Config) -> str:
    """Hash of all that paints and scores a creative beside its prompt and seed."""
    folders = [resolve_model_folder(config.renderer.model, "renderer"), resolve_model_folder(config.reward.model, "reward")]
    settings = [part.model_dump_json() for part in (config.renderer, config.imaging)]
    return hashlib.sha256("\n".join([*settings, *map(folder_digest, folders)]).encode()).hexdigest()[:16]
