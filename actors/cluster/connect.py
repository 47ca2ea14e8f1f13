"""The Ray cluster a run uses: started here, or joined."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray
from ray._private import parameter

from actors.cluster.authentication import prepare_to_join
from actors.cluster.ray_log_filter import keep_harmless_silent
from caig_rl.config.schema import ClusterConfig, PoolConfig
from caig_rl.errors import UserError

IDLE_WORKER_MS = 300_000
"""How long a local cluster keeps the process of a task that is done."""


@contextmanager
def ray_cluster(config: ClusterConfig) -> Iterator[None]:
    """Connect to the configured cluster, or start one on this machine and stop it at the end."""
    connect(config)
    try:
        yield
    finally:
        ray.shutdown()


def joined_address(config: ClusterConfig) -> str:
    """Of the cluster that is joined: `config.address`, else that of the job inside which this runs; "" where one is started here."""
    return config.address or os.environ.get("RAY_ADDRESS", "")


def approach(config: ClusterConfig) -> str:
    """What `ray_cluster` does first, in words."""
    return "joining the Ray cluster" if joined_address(config) else "starting Ray"


def connect(config: ClusterConfig) -> None:
    """`ray.init`: `config.address`, else the job's own cluster (RAY_ADDRESS), else a local one as configured.

    Raises:
        UserError: the named cluster cannot be reached, or is of another version; or the machine is too busy to start one.
    """
    keep_harmless_silent()
    # Without it Ray hides every GPU from actors that ask for none, and its warning about that on each start.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}
    if address := joined_address(config):
        _join(address, options)
        return
    # Token authentication guards a cluster that others can reach; this one listens on this machine alone and needs no token file.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    # By default Ray would first look for a cluster that was left running on this machine.
    with _any_agent_port():
        try:
            ray.init(
                address="local",
                num_cpus=config.num_cpus,
                object_store_memory=int(config.object_store_gib * 2**30),
                include_dashboard=False,
                _metrics_export_port=config.metrics_port,
                # By default Ray ends an idle task's process after a second where actors outnumber cores: the next imports torch anew.
                _system_config={"idle_worker_killing_time_threshold_ms": IDLE_WORKER_MS},
                **options,
            )
        except Exception as error:  # Ray raises nothing narrower
            if "timed out during startup" not in str(error):
                raise
            raise UserError(
                "Ray did not start on this machine within its 30 s: other work keeps the CPUs busy. Run the same again once that has ended"
            ) from error


@contextmanager
def _any_agent_port() -> Iterator[None]:
    """Inside, a local Ray's agent takes a free port. `ray.init` has no option for it, and by default holds the fixed one: a head that is
    started on the same machine meanwhile comes up without an agent, and refuses every job."""
    plain = parameter.RayParams
    parameter.RayParams = partial(plain, dashboard_agent_listen_port=0)
    try:
        yield
    finally:
        parameter.RayParams = plain


def _join(address: str, options: dict[str, Any]) -> None:
    advice = "cluster.address (or RAY_ADDRESS) is the head's own port, HOST:6379 unless changed; for jobs use `caig-rl submit --address`"
    if "://" not in address and ":" in address:
        if fault := silence(address):
            raise UserError(f"no Ray cluster at {address}: {fault}. {advice}")
        prepare_to_join(address)
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(f"the Ray cluster at {address} cannot be joined: {first}. {advice}") from error


def silence(address: str) -> OSError | None:
    """Why nothing answers at "HOST:PORT"; None where something does. Ray itself would go on trying for minutes, and not in one line."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        return error
    except ValueError as error:
        return OSError(str(error))
    return None


def worker_options(pool: PoolConfig, extra_environment: dict[str, str] | None = None) -> dict[str, Any]:
    """`.options(...)` of one worker: its share of the machine, no restarts of Ray's own, and an environment fixed before Python starts."""
    environment = {
        "OMP_NUM_THREADS": str(pool.threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if pool.num_gpus == 0:
        environment |= {"DS_ACCELERATOR": "cpu", "TORCHDYNAMO_DISABLE": "1", "CUDA_VISIBLE_DEVICES": ""}
    placed = {"label_selector": pool.node_labels} if pool.node_labels else {}
    return placed | {
        "num_cpus": pool.num_cpus,
        "num_gpus": pool.num_gpus,
        "max_restarts": 0,
        "runtime_env": {"env_vars": environment | (extra_environment or {})},
    }
