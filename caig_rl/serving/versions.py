"""Policy versions on shared storage, and which of them is live. A version is complete or absent, and never changes.

ROOT/routing.json   ROOT/versions/NAME/ policy/  version.json
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from caig_rl.errors import UserError
from caig_rl.serving.choice.arms import Routing
from caig_rl.serving.files import replace_file, sync_folder

BASE = "base"
"""The version that `policy.model` names."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEPT = 20


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What was verified of a version when it was taken in."""

    name: str
    source: str
    """Where it came from."""
    sha256: str
    """Over its files."""
    canary_tokens: tuple[int, ...]
    canary_log_probs: tuple[float, ...]
    """Of a fixed answer to a fixed question, by transformers; an engine that runs these weights agrees."""


class VersionStore:
    """The versions of one service."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / "versions"

    def add(self, record: VersionRecord, policy: Path) -> None:
        """Take in a copy of the `policy` folder: the run's own may be deleted later.

        Raises:
            UserError: the name is taken by other weights, or is no file name.
        """
        check_name(record.name)
        target = self._folder / record.name
        if target.exists():
            if self.record(record.name).sha256 != record.sha256:
                raise UserError(f"there is a version {record.name!r} with other weights already; give another name with --name.")
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".draft-") as draft:
            staged = Path(draft) / record.name
            shutil.copytree(policy, staged / "policy")
            replace_file(staged / "version.json", json.dumps(asdict(record), indent=1).encode())
            staged.rename(target)
        sync_folder(self._folder)

    def names(self) -> list[str]:
        """Every version that was taken in."""
        return sorted(path.name for path in self._folder.iterdir() if _NAME.fullmatch(path.name)) if self._folder.is_dir() else []

    def record(self, name: str) -> VersionRecord:
        """What is known of a version. Raises UserError where there is none."""
        path = self._folder / check_name(name) / "version.json"
        if not path.is_file():
            raise UserError(f"there is no policy version {name!r}; there are: {', '.join([BASE, *self.names()])}.")
        content = json.loads(path.read_text(encoding="utf-8"))
        tokens, log_probs = tuple(content.pop("canary_tokens")), tuple(content.pop("canary_log_probs"))
        return VersionRecord(canary_tokens=tokens, canary_log_probs=log_probs, **content)

    def policy_folder(self, name: str) -> Path:
        """The version's model folder."""
        return self._folder / check_name(name) / "policy"

    def routing(self) -> Routing:
        """What is live; the base version where nothing was ever promoted."""
        path = self._root / "routing.json"
        if not path.is_file():
            return Routing(BASE)
        return routing_from_json(json.loads(path.read_text(encoding="utf-8")))

    def set_routing(self, routing: Routing) -> None:
        """What a service that starts from now on takes as live."""
        replace_file(self._root / "routing.json", json.dumps(asdict(routing), indent=1).encode())


def routing_from_json(content: dict) -> Routing:
    """What `asdict` of a routing gave, through JSON."""
    return Routing(content["live"], content["candidate"], content["traffic"], tuple(content["previous"]))


def promoted(routing: Routing, name: str, traffic: float) -> Routing:
    """`name` live for everybody (traffic 1), or tried on a share of the visitors.

    Raises:
        UserError: it is live already, or traffic is not above 0 and at most 1.
    """
    if not 0.0 < traffic <= 1.0:
        raise UserError(f"--traffic {traffic:g} is not above 0 and at most 1.")
    if name == routing.live:
        raise UserError(f"version {name!r} is live already.")
    if traffic < 1.0:
        return replace(routing, candidate=name, traffic=traffic)
    previous = tuple(dict.fromkeys([routing.live, *routing.previous]))
    return Routing(name, previous=tuple(one for one in previous if one != name)[:_KEPT])


def rolled_back(routing: Routing) -> Routing:
    """The candidate dropped where one is tried; else the version before the live one.

    Raises:
        UserError: there is nothing to go back to.
    """
    if routing.candidate is not None:
        return replace(routing, candidate=None, traffic=0.0)
    if not routing.previous:
        raise UserError(f"version {routing.live!r} is live and none was live before it.")
    return Routing(routing.previous[0], previous=routing.previous[1:])


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of every file in `folder`."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
    return digest.hexdigest()


def check_name(name: str) -> str:
    """`name` itself. Raises UserError where it is no name of a version."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is no version's name: use letters, digits, '.', '_' and '-', at most 100.")
    return name
