"""What is sent to a cluster as a Ray job: the command, the files and packages it needs, and where its run folder goes.

Plain functions of config and arguments; `actors/submission/job_client.py` talks to the cluster.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from caig_rl.config.schema import Config
from caig_rl.config.section import NANO
from caig_rl.errors import UserError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
"""Where a Ray head on this machine has its dashboard."""
STOP_MARGIN_S = 5
"""Ray kills a job 3 s after it was asked to stop, unless told otherwise: it is to wait this much longer than `run.stop_grace_s`."""
EXCLUDES = ["/.git/", "/.venv/", "/runs/", "/build/", "/dist/", "/tests/", "/shared/", "**/__pycache__/"]
"""Never sent along, besides what .gitignore names."""
RUN_KEY = "caig_rl_run"
"""Metadata of a job: the address of its run folder."""
_LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1", "0.0.0.0"}


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One submission, as the Ray Jobs API takes it."""

    entrypoint: str
    runtime_env: dict[str, Any]
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What the submitter asks for beside the config."""

    working_dir: str
    """Folder that is copied to the cluster, or the URI of a zip file there."""
    pip: tuple[str, ...] = ()
    """Packages that the job needs beyond the image."""
    env: Mapping[str, str] | None = None
    """Environment of the job and all its workers."""
    flags: tuple[str, ...] = ()
    """Further options of the command, like "--resume"."""
    command: Literal["train", "ablate"] = "train"
    """What the job runs."""


def dashboard_address(text: str) -> str:
    """`text` as the address of a Ray dashboard, "http://HOST:8265".

    Raises:
        UserError: not an HTTP address.
    """
    address = (text if "://" in text else f"http://{text}").rstrip("/")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or text == "auto":
        raise UserError(f"--address {text}: jobs go to the dashboard of the Ray head, an address like {DEFAULT_ADDRESS}")
    return address


def job_request(config_file: Path | None, overrides: Sequence[str], config: Config, options: JobOptions, address: str) -> JobRequest:
    """The job that trains `config`, which is `config_file` with `overrides`; or that runs the ablation in `config_file`.

    Args:
        config_file: None for the defaults.
        overrides: as given on the command line.
        config: what the two resolve to; of an ablation its base, with the name of its folder.
        options: files, packages, environment.
        address: of the dashboard; says whether the cluster sees this machine's disk.

    Raises:
        UserError: a working directory, config, catalog, model or run folder that the cluster could not see.
    """
    folder = _working_folder(options.working_dir)
    command = ["python", "-m", "caig_rl.cli", options.command]
    if config_file is not None:
        command.append(_inside(folder, config_file, "the config"))
    root = _run_root(config, folder, address)
    paths = [] if folder is None else _paths(config, folder, address)
    # A job always runs on the cluster that it was sent to, whatever cluster the config names for runs from a terminal.
    command += [*overrides, *paths, f"run.root={root}", "cluster.address=null"]
    command += options.flags
    environment = {"RAY_JOB_STOP_WAIT_TIME_S": str(ceil(config.run.stop_grace_s) + STOP_MARGIN_S), **(options.env or {})}
    runtime_env: dict[str, Any] = {"working_dir": options.working_dir, "env_vars": environment}
    if folder is not None:
        runtime_env |= {"working_dir": str(folder), "excludes": EXCLUDES}
    if options.pip:
        runtime_env["pip"] = list(options.pip)
    return JobRequest(shlex.join(command), runtime_env, {RUN_KEY: f"{root.rstrip('/')}/{config.run.name}"})


def refuse_unsent(ablation_base: Path, base: Config, cells: Iterable[Config], options: JobOptions) -> None:
    """Refuse an ablation whose files the job would not find: its base, and what its arms name by relative paths of their own.

    Args:
        ablation_base: the file that all arms start from.
        base: what it and the command line resolve to.
        cells: of the arms.
        options: files that are sent.

    Raises:
        UserError: it is not among the files that are sent along.
    """
    folder = _working_folder(options.working_dir)
    _inside(folder, ablation_base, "the ablation's base")
    if folder is None:
        return
    known = _relative_paths(base)
    for key, path in {named for config in cells for named in _relative_paths(config).items()}:
        if known.get(key) != path:
            _sent(folder, path, key)


def _working_folder(text: str) -> Path | None:
    """The folder to send along, absolute; None for the URI of one that the cluster fetches itself."""
    if "://" in text:
        return None
    folder = Path(text).expanduser().resolve()
    if not folder.is_dir():
        raise UserError(f"--working-dir {text}: there is no such folder; name the one that holds the config and the catalog")
    return folder


def _inside(folder: Path | None, path: Path, what: str) -> str:
    """`path` as the job finds it: relative to its copy of `folder`."""
    if folder is None:
        return str(path)
    full = path.expanduser().resolve()
    if not full.is_relative_to(folder):
        raise UserError(
            f"{what} {path} is not below the working directory {folder}, which is all that is sent; move it, or give --working-dir"
        )
    return str(full.relative_to(folder))


def _paths(config: Config, folder: Path, address: str) -> list[str]:
    """Overrides that say where the job finds the catalog and the models that are given by relative paths."""
    return [f"{key}={_as_the_job_finds_it(folder, path, key, address)}" for key, path in _relative_paths(config).items()]


def _relative_paths(config: Config) -> dict[str, str]:
    """Key -> path of the catalog and of each model that a run opens and that is named by a relative path."""
    named = {"catalog.path": config.catalog.path, "policy.model": config.policy.model, "renderer.model": config.renderer.model}
    named |= {"reward.model": config.reward.model if config.reward.kind == "model" else None, "guard.reward": config.guard.reward}
    return {key: path for key, path in named.items() if path and path != NANO and "://" not in path and not Path(path).is_absolute()}


def _as_the_job_finds_it(folder: Path, path: str, key: str, address: str) -> str:
    if urlsplit(address).hostname in _LOCAL_HOSTS:
        return str(Path(path).resolve())
    return _sent(folder, path, key)


def _sent(folder: Path, path: str, key: str) -> str:
    """`path` inside the copy of `folder`. Raises UserError where it is not in it."""
    full = Path(path).resolve()
    inside = full.relative_to(folder) if full.is_relative_to(folder) else None
    if inside is None or f"/{inside.parts[0]}/" in EXCLUDES:
        raise UserError(
            f"{key} = {path} is not among the files that are sent along (the working directory {folder}, without "
            f"{', '.join(name.strip('/') for name in EXCLUDES[:-1])}); move it, or name a place that every node reaches"
        )
    return str(inside)


def _run_root(config: Config, folder: Path | None, address: str) -> str:
    """Where the run folder goes: Ray deletes a job's copy of the working directory, so a relative path would be lost with it."""
    root = config.run.root
    if "://" in root or Path(root).is_absolute():
        return root
    if folder is not None and urlsplit(address).hostname in _LOCAL_HOSTS:
        return str(folder / root)
    raise UserError(
        f"run.root = {root} would lie in the job's temporary copy of the working directory, which Ray deletes; "
        "name a place that every node reaches: run.root=s3://bucket/runs or run.root=/mnt/shared/runs"
    )
