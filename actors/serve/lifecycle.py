"""Starts the service, finds one that runs, and changes which policy version is live."""

from __future__ import annotations

import json
import logging
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus, DeploymentStatus, ServeDeploySchema

from actors.cluster.connect import connect, ray_cluster, silence
from actors.cluster.resource_wait import resources_in_words
from actors.serve.deployment_plan import NAME, deployment_plan
from caig_rl.config.schema import ClusterConfig, Config
from caig_rl.errors import UserError
from caig_rl.models.folders import resolve_model_folder
from caig_rl.serving.choice.arms import Routing
from caig_rl.serving.files import replace_file
from caig_rl.serving.lock import only_service
from caig_rl.serving.log import service_log
from caig_rl.serving.versions import VersionStore
from caig_rl.wording import duration

logger = logging.getLogger(__name__)

SERVICE_FILE = "service.json"
"""In `serve.root` while the service runs: which cluster it runs on, and its configuration."""
UNHEALTHY_LIMIT_S = 120.0
"""Unhealthy for so long without a break, an application has failed: a replica that is only replaced takes less."""


DRAIN_SLACK_S = 10.0
"""Beyond the time-out of a request: until Serve's controller has told every replica, and heard of it."""
LAST_BYTES_S = 0.5
"""What Serve's proxy gets to hand on the end of the last answers."""


class Stopped(Exception):
    """The service was told to stop before it was up, or a second time while it stopped."""


def run_service(config: Config, say: Callable[[str], None], ready: Callable[[str], None]) -> None:
    """Start the service, call `ready` with its address, and keep it up until SIGINT or SIGTERM. `say` is told what it waits for.

    The first signal lets requests under way be finished, at most `serve.limits.request_timeout_s`; a second one does not wait.

    Raises:
        UserError: it did not come up, or another one runs on its folder; the message says why.
    """
    stop, hurry = threading.Event(), threading.Event()
    address = f"http://{config.serve.host}:{config.serve.port}"
    root = Path(config.serve.root)
    root.mkdir(parents=True, exist_ok=True)
    with only_service(root, address):
        check_models(config)
        check_free(config.serve.host, config.serve.port)
        say("starting the models ...")
        with ray_cluster(config.cluster), service_log(root, "service", config.logs.level), suppress(Stopped):
            # Only now: Ray puts a SIGTERM handler of its own in place when it starts.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: (hurry if stop.is_set() else stop).set())
            with serving(config, stop, hurry):
                logger.info("serving at %s", address)
                ready(address)
                stop.wait()
                logger.info("stopping")
                say("stopping: requests under way are finished first (a second Ctrl-C does not wait for them)")


@contextmanager
def serving(config: Config, stop: threading.Event | None = None, hurry: threading.Event | None = None) -> Iterator[None]:
    """The service, up inside the block, on the Ray cluster this process is connected to. Requests under way at its end are finished.

    Raises:
        UserError: it did not come up.
        Stopped: `stop` was set before it was up, or `hurry` before the last request was answered.
    """
    root = Path(config.serve.root).resolve()
    root.mkdir(parents=True, exist_ok=True)
    settings = config.model_copy(update={"serve": config.serve.model_copy(update={"root": str(root)})}).model_dump(mode="json")
    serve.start(proxy_location="HeadOnly", http_options={"host": config.serve.host, "port": config.serve.port})
    try:
        deploy(settings, VersionStore(root).routing(), config.cluster.start_timeout_s, stop, config.cluster.wait_note_s)
        with _noted(root / SERVICE_FILE, {"address": ray.get_runtime_context().gcs_address, "config": settings}):
            yield
        drain(settings, VersionStore(root).routing(), hurry)
    finally:
        serve.shutdown()


@contextmanager
def _noted(path: Path, content: dict[str, Any]) -> Iterator[None]:
    """The note that commands find the service by, there inside the block. One that another service wrote meanwhile stays."""
    note = json.dumps(content, indent=1).encode()
    replace_file(path, note)
    try:
        yield
    finally:
        if path.is_file() and path.read_bytes() == note:
            path.unlink()


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


def drain(settings: dict[str, Any], routing: Routing, hurry: threading.Event | None = None) -> None:
    """Let no request in any more, and wait until those under way are answered: Serve's own shutdown takes its proxy away at once.

    Raises:
        Stopped: `hurry` was set.
    """
    limit = settings["serve"]["limits"]["request_timeout_s"]
    try:
        # Serve takes the new state for reached once every ingress replica has said that it is empty.
        deploy(settings, routing, limit + DRAIN_SLACK_S, hurry, stopping=True)
    except UserError as error:  # a replica died meanwhile, or is stuck: the service ends all the same
        logger.warning("requests under way may have been lost: %s", error)
    time.sleep(LAST_BYTES_S)


def deploy(
    settings: dict[str, Any],
    routing: Routing,
    timeout_s: float,
    stop: threading.Event | None = None,
    note_s: float | None = None,
    *,
    stopping: bool = False,
) -> None:
    """Bring the application to this configuration and routing, and wait until it is so. A change of the routing alone restarts nothing.

    Every `note_s` seconds (None: never) it logs what it waits for, and what the cluster has. `stopping`: as for `deployment_plan`.

    Raises:
        UserError: it failed, or took longer than `timeout_s`.
        Stopped: `stop` was set.
    """
    plan = deployment_plan(settings, settings["serve"]["host"], settings["serve"]["port"], routing, stopping)
    # What `serve deploy` does through the dashboard, which a laptop's cluster does without. `serve.run` would restart the replicas.
    _get_global_client().deploy_apps(ServeDeploySchema.model_validate(plan))
    started = well = noted = time.monotonic()
    time.sleep(0.2)
    while time.monotonic() < started + timeout_s:
        if stop is not None and stop.is_set():
            raise Stopped
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
    missing = f"it lacks {_not_up(serve.status().applications.get(NAME))}; {resources_in_words()}"
    raise UserError(f"the service was not up within {duration(timeout_s)} (cluster.start_timeout_s): {missing}.")


def check_models(config: Config) -> None:
    """Raise ModelFolderError where a model's folder is none, before minutes of starting: a replica would fail on it three times."""
    resolve_model_folder(config.policy.model, "policy", config.policy.trust_remote_code)
    resolve_model_folder(config.renderer.model, "renderer")
    resolve_model_folder(config.reward.model, "reward")


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
    parts = [one_sentence(status.message), *(f"{name}: {one_sentence(one.message)}" for name, one in status.deployments.items())]
    return " ".join(part for part in parts if part.rstrip(": ")) or "no reason was given"


def one_sentence(message: str) -> str:
    """What a message of Serve's says, without the traceback in it: of that, the last error alone."""
    head, is_traceback, _ = message.partition("Traceback (most recent call last)")
    if not is_traceback:
        return " ".join(message.split())
    # An error's own line is not indented and begins with its class; what it says may go on below.
    found = list(re.finditer(r"^(?:\w+\.)*[A-Z]\w*(?:: |$)", message[len(head) :], re.MULTILINE))
    error = message[len(head) + found[-1].start() :] if found else head
    return " ".join(error.split())[:1500]
