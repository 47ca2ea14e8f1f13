"""Starts the service, finds one that runs, and changes which policy version is live."""

from __future__ import annotations

import json
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus, DeploymentStatus, ServeDeploySchema

from actors.cluster import connect, ray_cluster, silence
from actors.serve.plan import NAME, deployment_plan
from actors.waiting import resources_in_words
from caig_rl.config.schema import ClusterConfig, Config
from caig_rl.errors import UserError
from caig_rl.serving.arms import Routing
from caig_rl.serving.files import replace_file
from caig_rl.serving.log import service_log
from caig_rl.serving.versions import VersionStore
from caig_rl.wording import duration

logger = logging.getLogger(__name__)

SERVICE_FILE = "service.json"
"""In `serve.root` while the service runs: which cluster it runs on, and its configuration."""
UNHEALTHY_LIMIT_S = 120.0
"""Unhealthy for so long without a break, an application has failed: a replica that is only replaced takes less."""


def run_service(config: Config, ready: Callable[[str], None]) -> None:
    """Start the service, call `ready` with its address, and keep it up until SIGINT or SIGTERM.

    Raises:
        UserError: it did not come up; the message says why.
    """
    stop = threading.Event()
    check_free(config.serve.host, config.serve.port)
    with ray_cluster(config.cluster):
        # Only now: Ray puts a SIGTERM handler of its own in place when it starts.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        with service_log(Path(config.serve.root), "service", config.logs.level), serving(config, stop):
            address = f"http://{config.serve.host}:{config.serve.port}"
            logger.info("serving at %s", address)
            ready(address)
            stop.wait()
            logger.info("stopping")


@contextmanager
def serving(config: Config, stop: threading.Event | None = None) -> Iterator[None]:
    """The service, up inside the block, on the Ray cluster this process is connected to.

    Raises:
        UserError: it did not come up, or `stop` was set meanwhile.
    """
    root = Path(config.serve.root).resolve()
    root.mkdir(parents=True, exist_ok=True)
    settings = config.model_copy(update={"serve": config.serve.model_copy(update={"root": str(root)})}).model_dump(mode="json")
    serve.start(proxy_location="HeadOnly", http_options={"host": config.serve.host, "port": config.serve.port})
    try:
        deploy(settings, VersionStore(root).routing(), config.cluster.start_timeout_s, stop, config.cluster.wait_note_s)
        content = {"address": ray.get_runtime_context().gcs_address, "config": settings}
        replace_file(root / SERVICE_FILE, json.dumps(content, indent=1).encode())
        yield
    finally:
        (root / SERVICE_FILE).unlink(missing_ok=True)
        serve.shutdown()


@contextmanager
def connected(root: Path) -> Iterator[dict[str, Any]]:
    """Connected to the cluster of the service at `root`; yields the configuration it runs with.

    Raises:
        UserError: no service runs there, or it was killed before it could take its note away.
    """
    path = root / SERVICE_FILE
    if not path.is_file():
        raise UserError(f"no service runs on {root}: start it with `caig-rl serve run`, or name its folder with --root.")
    content = json.loads(path.read_text(encoding="utf-8"))
    if ray.is_initialized():
        yield content["config"]
        return
    check_listening(content["address"], path)
    connect(ClusterConfig(address=content["address"]))
    try:
        yield content["config"]
    finally:
        ray.shutdown()


def deploy(
    settings: dict[str, Any], routing: Routing, timeout_s: float, stop: threading.Event | None = None, note_s: float | None = None
) -> None:
    """Bring the application to this configuration and routing, and wait until it is so. A change of the routing alone restarts nothing.

    Every `note_s` seconds (None: never) it logs what it waits for, and what the cluster has.

    Raises:
        UserError: it failed, or took longer than `timeout_s`.
    """
    plan = deployment_plan(settings, settings["serve"]["host"], settings["serve"]["port"], routing)
    # What `serve deploy` does through the dashboard, which a laptop's cluster does without. `serve.run` would restart the replicas.
    _get_global_client().deploy_apps(ServeDeploySchema.model_validate(plan))
    started = well = noted = time.monotonic()
    time.sleep(0.2)
    while time.monotonic() < started + timeout_s and not (stop is not None and stop.is_set()):
        status = serve.status().applications.get(NAME)
        if status is not None and status.status == ApplicationStatus.RUNNING:
            return
        if status is None or status.status != ApplicationStatus.UNHEALTHY:
            well = time.monotonic()
        # A replica that died while others were starting makes it unhealthy until its replacement is up: Serve sees to that itself.
        if status is not None and (status.status == ApplicationStatus.DEPLOY_FAILED or time.monotonic() > well + UNHEALTHY_LIMIT_S):
            raise UserError(f"the service did not come up: {_why(status)}")
        if note_s is not None and time.monotonic() >= noted + note_s:
            noted = time.monotonic()
            logger.warning("waiting %s for %s; %s", duration(noted - started), _not_up(status), resources_in_words())
        time.sleep(0.1)
    if stop is not None and stop.is_set():
        raise UserError("the service was stopped before it was up.")
    missing = f"it lacks {_not_up(serve.status().applications.get(NAME))}; {resources_in_words()}"
    raise UserError(f"the service was not up within {duration(timeout_s)} (cluster.start_timeout_s): {missing}.")


def check_free(host: str, port: int) -> None:
    """Raise UserError where the address is taken, before minutes of starting: Serve's proxy would try it again and again."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as one:
        # Connections of a service that just ended do not count.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OSError as error:
            raise UserError(
                f"cannot listen on {host}:{port} ({error.strerror}): does a service run there already? Else give another serve.port."
            ) from error


def check_listening(address: str, path: Path) -> None:
    """Raise UserError where nothing answers at the cluster's `address`: Ray itself would go on trying for many minutes.

    `path`: of the note that names it.
    """
    if fault := silence(address):
        raise UserError(
            f"the service that {path} names is gone: nothing answers at {address} ({fault}). Start it again with `caig-rl serve run`."
        )


def _not_up(status: Any) -> str:
    """The deployments that are not up yet: "Policy, Scorer of the service"."""
    names = [] if status is None else [name for name, one in status.deployments.items() if one.status != DeploymentStatus.HEALTHY]
    return f"{', '.join(names)} of the service" if names else "the service's controller"


def _why(status: Any) -> str:
    parts = [status.message, *(f"{name}: {one.message}" for name, one in status.deployments.items() if one.message)]
    return " ".join(part.strip() for part in parts if part.strip())[-1500:] or "no reason was given"
