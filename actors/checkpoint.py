"""Checkpoints of the whole run at round boundaries: complete or absent.

    checkpoints/STEP/ learner/  policy/  state.json  pairs.parquet  ledger.parquet  manifest.json

The manifest, with the hash of every other file, is written last; without it, or where a hash differs, there is no checkpoint. `policy/`
is the policy of that step as a plain Hugging Face folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from actors.journal import pairs_from_table, pairs_to_table
from caig_rl.config.schema import Config
from caig_rl.errors import CheckpointError
from caig_rl.evaluation.ledger import Ledger
from caig_rl.evaluation.run_folder import RunFolder
from caig_rl.types import Admission, PolicyVersion, PreferencePair

logger = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything of a run that the learner does not hold itself. Random numbers derive from seeds, so there is no other random state."""

    rounds_done: int
    rounds_admitted: int
    """Rounds whose products were admitted: more than are done where rollout runs ahead."""
    version: PolicyVersion
    next_admission_id: int
    cursor_position: int
    in_flight: tuple[Admission, ...]
    ready: tuple[PreferencePair, ...]
    ledger: Ledger
    extra: dict[str, Any]
    """JSON: counters, rounds' details, the initial evaluation."""


def fingerprint(config: Config) -> dict[str, Any]:
    """The parts of the config that a resumed run must share with its checkpoint."""
    learner = config.learner
    return {
        "objective": config.objective,
        "seed": config.run.seed,
        "catalog": config.catalog.path,
        "policy": config.policy.model,
        "finetune": learner.finetune,
        "lora_rank": learner.lora_rank,
        "zero_stage": learner.zero_stage,
        "world_size": learner.world_size,
        "products_per_round": config.rollout.products_per_round,
        "rounds": config.rollout.rounds,
    }


class CheckpointStore:
    """The checkpoints of one run folder."""

    def __init__(self, folder: RunFolder, keep: int) -> None:
        """`keep`: complete checkpoints that stay; older ones are deleted."""
        self._folder, self._keep = folder, keep
        self._fs, self._base = fsspec.core.url_to_fs(folder.path("checkpoints"))

    def url(self, step: int) -> str:
        """Address of one checkpoint's folder."""
        return self._folder.checkpoint_path(step)

    def steps(self) -> list[int]:
        """Steps for which there is a folder, complete or not, rising."""
        if not self._fs.exists(self._base):
            return []
        names = [str(path).rstrip("/").rsplit("/", 1)[-1] for path in self._fs.ls(self._base, detail=False)]
        return sorted(int(name) for name in names if name.isdigit())

    async def save(self, state: RunState, config: Config, save_learner: Callable[[str], Awaitable[None]]) -> str:
        """Write the checkpoint of `state.rounds_done`, then delete the oldest beyond `keep`; returns its address."""
        step = state.rounds_done
        self._delete(step)
        await save_learner(self.url(step))
        self._write(step, "state.json", json.dumps(_state_json(state, config), indent=1, allow_nan=False).encode())
        self._write(step, "pairs.parquet", _parquet(pairs_to_table(state.ready)))
        self._write(step, "ledger.parquet", _parquet(state.ledger.to_table()))
        manifest = {"format": FORMAT, "files": self._hashes(step)}
        self._write(step, MANIFEST, json.dumps(manifest, indent=1).encode())
        for old in self.steps()[: -self._keep]:
            self._delete(old)
        return self.url(step)

    def newest(self, config: Config, note: Callable[[str], None]) -> RunState:
        """The newest complete checkpoint. One that is cut short is passed over, and `note` is told which and why.

        Raises:
            CheckpointError: none is complete, or the newest complete one is of another run.
        """
        broken: list[str] = []
        for step in reversed(self.steps()):
            fault = self._fault(step)
            if fault is None:
                return self._read(step, config)
            broken.append(f"{self.url(step)} {fault}")
            note(f"checkpoint {broken[-1]}: passed over")
        found = "; ".join(broken) or f"none in {self._folder.path('checkpoints')}"
        raise CheckpointError(f"no complete checkpoint to resume from ({found}). Start the run anew under another run.name.")

    def _fault(self, step: int) -> str | None:
        """What is wrong with a checkpoint, None where it is complete."""
        if not self._fs.exists(f"{self._base}/{step}/{MANIFEST}"):
            return "is cut short: it has no manifest"
        try:
            manifest = json.loads(self._fs.cat_file(f"{self._base}/{step}/{MANIFEST}"))
        except json.JSONDecodeError:
            return "is cut short: its manifest cannot be read"
        if manifest["format"] != FORMAT:
            return f"has format {manifest['format']}, and this version reads {FORMAT}"
        found = self._hashes(step)
        for name, digest in manifest["files"].items():
            if name not in found:
                return f"is cut short: {name} is missing"
            if found[name] != digest:
                return f"is damaged: {name} is not what was written"
        return None

    def _read(self, step: int, config: Config) -> RunState:
        content = json.loads(self._fs.cat_file(f"{self._base}/{step}/state.json"))
        wanted = fingerprint(config)
        for key, value in content["config"].items():
            if wanted[key] != value:
                raise CheckpointError(f"{self.url(step)} was written with {key}={value!r}, and this run has {wanted[key]!r}")
        ready = pairs_from_table(pq.read_table(pa.BufferReader(self._fs.cat_file(f"{self._base}/{step}/pairs.parquet"))))
        ledger = Ledger.from_table(pq.read_table(pa.BufferReader(self._fs.cat_file(f"{self._base}/{step}/ledger.parquet"))))
        return RunState(
            rounds_done=content["rounds_done"],
            rounds_admitted=content["rounds_admitted"],
            version=PolicyVersion(*content["version"]),
            next_admission_id=content["next_admission_id"],
            cursor_position=content["cursor_position"],
            in_flight=tuple(Admission(*row) for row in content["in_flight"]),
            ready=tuple(ready),
            ledger=ledger,
            extra=content["extra"],
        )

    def _hashes(self, step: int) -> dict[str, str]:
        root = f"{self._base}/{step}"
        hashes: dict[str, str] = {}
        for path in sorted(str(path) for path in self._fs.find(root)):
            name = path.removeprefix(f"{root}/")
            if name != MANIFEST:
                with self._fs.open(path, "rb") as file:
                    hashes[name] = _sha256(file)
        return hashes

    def _write(self, step: int, name: str, data: bytes) -> None:
        self._folder.write_bytes(f"checkpoints/{step}/{name}", data)

    def _delete(self, step: int) -> None:
        root = f"{self._base}/{step}"
        if not self._fs.exists(root):
            return
        # The manifest goes first, so that a deletion cut short leaves no checkpoint either.
        if self._fs.exists(f"{root}/{MANIFEST}"):
            self._fs.rm_file(f"{root}/{MANIFEST}")
        self._fs.rm(root, recursive=True)


def _state_json(state: RunState, config: Config) -> dict[str, Any]:
    return {
        "config": fingerprint(config),
        "rounds_done": state.rounds_done,
        "rounds_admitted": state.rounds_admitted,
        "version": [state.version.incarnation, state.version.number],
        "next_admission_id": state.next_admission_id,
        "cursor_position": state.cursor_position,
        "in_flight": [[one.admission_id, one.round, one.product_id, one.seed] for one in state.in_flight],
        "extra": state.extra,
    }


def _sha256(file: Any) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(2**20):
        digest.update(chunk)
    return digest.hexdigest()


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
