"""Checkpoints of the whole run: complete or absent.

    checkpoints/ROUNDS_DONE/ learner/  policy/  state-0/{run.json, pairs.parquet, ledger.parquet}  manifest.json

The manifest, with the hash of every file that counts, is written last; without it, or where a hash differs, there is no checkpoint.
`policy/` is the policy of that step as a plain Hugging Face folder. `save` writes all of it, between rounds; `update` keeps the weights,
which do not change within a round, and replaces the state by that of the round under way.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import astuple, dataclass
from types import MappingProxyType
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from actors.checkpoints.compatibility import first_difference
from caig_rl.data.group_table import groups_from_table, groups_to_table
from caig_rl.errors import CheckpointError
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.ledger import Ledger
from caig_rl.runs.result_checkpoint import result_step
from caig_rl.types import Admission, PolicyVersion, PreferenceGroup

logger = logging.getLogger(__name__)

FORMAT = 3
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class SavedState:
    """Everything of a run that the learner does not hold itself. Random numbers derive from seeds, so there is no other random state."""

    rounds_done: int
    rounds_admitted: int
    """Rounds whose products were admitted: more than are done where rollout runs ahead."""
    version: PolicyVersion
    next_admission_id: int
    cursor_position: int
    in_flight: tuple[Admission, ...]
    ready: tuple[PreferenceGroup, ...]
    ledger: Ledger
    extra: dict[str, Any]
    """JSON: counters, rounds' details, the initial evaluation."""


class CheckpointStore:
    """The checkpoints of one run folder."""

    def __init__(self, folder: RunFolder, keep: int) -> None:
        """`keep`: complete checkpoints that stay; older ones are deleted."""
        self._folder, self._keep = folder, keep
        self._fs, self._base = fsspec.core.url_to_fs(folder.path("checkpoints"))
        self.before_seal: Callable[[int], None] | None = None
        """Called with the step before its state is written; `actors.chaos.disk_faults` fills the disk here."""

    def url(self, step: int) -> str:
        """Address of one checkpoint's folder."""
        return self._folder.checkpoint_path(step)

    def steps(self) -> list[int]:
        """Steps for which there is a folder, complete or not, rising."""
        if not self._fs.exists(self._base):
            return []
        names = [str(path).rstrip("/").rsplit("/", 1)[-1] for path in self._fs.ls(self._base, detail=False)]
        return sorted(int(name) for name in names if name.isdigit())

    def is_complete(self, step: int) -> bool:
        """True where the checkpoint of `step` has its manifest; its hashes are not checked."""
        return bool(self._fs.exists(f"{self._base}/{step}/{MANIFEST}"))

    async def save(
        self,
        state: Callable[[], SavedState],
        fingerprint: Mapping[str, Any],
        save_learner: Callable[[str], Awaitable[None]],
        kept: Callable[[], Collection[int]] = tuple,
    ) -> str:
        """Write the checkpoint of the rounds done, then delete the oldest beyond `keep`; returns its address.

        Args:
            state: gives the run's state. It is asked again when the learner has saved: a learner that had to be re-formed for that has
                begun a new incarnation.
            fingerprint: what a run that takes it up must share with this one.
            save_learner: writes the learner's part under an address.
            kept: gives steps that stay beside the newest.
        """
        step = state().rounds_done
        await asyncio.to_thread(self.discard, step)
        try:
            await save_learner(self.url(step))
            files = await asyncio.to_thread(self._hashes, step)
            self._seal(step, 0, files, state(), fingerprint)
        except Exception:
            # On a full disk, half a checkpoint would take the place that the run needs to go on.
            await asyncio.to_thread(self.discard, step)
            raise
        wanted = kept()
        for old in self.steps()[: -self._keep]:
            if old not in wanted:
                await asyncio.to_thread(self.discard, old)
        return self.url(step)

    def update(self, state: SavedState, fingerprint: Mapping[str, Any]) -> str:
        """Replace the state in the complete checkpoint of `state.rounds_done`; the old one counts until the new one does."""
        step = state.rounds_done
        manifest = json.loads(self._fs.cat_file(f"{self._base}/{step}/{MANIFEST}"))
        old = f"state-{manifest['state']}"
        files = {name: digest for name, digest in manifest["files"].items() if not name.startswith(f"{old}/")}
        self._seal(step, manifest["state"] + 1, files, state, fingerprint)
        self._fs.rm(f"{self._base}/{step}/{old}", recursive=True)
        return self.url(step)

    def discard(self, step: int) -> None:
        """Delete the checkpoint of `step`, complete or not, where there is one.

        Raises UserError where another driver has taken the folder: then it may be that one's.
        """
        self._folder.check_lock()
        root = f"{self._base}/{step}"
        if not self._fs.exists(root):
            return
        # The manifest goes first, so that a deletion cut short leaves no checkpoint either.
        if self._fs.exists(f"{root}/{MANIFEST}"):
            self._fs.rm_file(f"{root}/{MANIFEST}")
        self._fs.rm(root, recursive=True)

    def newest(self, wanted: Mapping[str, Any], note: Callable[[str], None]) -> SavedState | None:
        """The newest complete checkpoint; None where there is none, nor ever was: the run was cut short before its first.

        One that is cut short or damaged is passed over, and `note` is told which and why. `wanted`: the part of the fingerprint that
        must be the same.

        Raises:
            CheckpointError: all were passed over and some of them had been complete, or the newest complete one is of another run.
        """
        passed: list[str] = []

        def pass_over(text: str) -> None:
            passed.append(text)
            note(text)

        step = self.newest_step(pass_over)
        if step is not None:
            return self.read(step, wanted)
        if any(self.is_complete(one) for one in self.steps()):
            found = "; ".join(passed)
            raise CheckpointError(f"no complete checkpoint to resume from ({found}). Start the run anew under another run.name.")
        return None

    def of_result(self, wanted: Mapping[str, Any], note: Callable[[str], None]) -> SavedState | None:
        """The checkpoint of the run's result (`caig_rl.runs.result_checkpoint`), else the newest; None where there is none.

        Raises:
            CheckpointError: the result's is cut short, damaged or of another run, or see `newest`.
        """
        step = result_step(self._folder)
        if step is None:
            return self.newest(wanted, note)
        fault = self.fault(step)
        if fault is not None:
            raise CheckpointError(f"checkpoint {self.url(step)}, which holds the run's result, {fault}. Put a sound copy back.")
        return self.read(step, wanted)

    def newest_step(self, note: Callable[[str], None], at_most: int | None = None) -> int | None:
        """Step of the newest complete checkpoint, none above `at_most`; `note` is told of those passed over, and why."""
        for step in [one for one in reversed(self.steps()) if at_most is None or one <= at_most]:
            fault = self.fault(step)
            if fault is None:
                return step
            note(f"checkpoint {self.url(step)} {fault}: passed over")
        return None

    def read(self, step: int, wanted: Mapping[str, Any] = MappingProxyType({})) -> SavedState:
        """The state in the complete checkpoint of `step`, whose hashes are not checked. `wanted`: as for `newest`.

        Raises:
            CheckpointError: it is of another run.
        """
        root = f"{self._base}/{step}"
        root += f"/state-{json.loads(self._fs.cat_file(f'{root}/{MANIFEST}'))['state']}"
        content = json.loads(self._fs.cat_file(f"{root}/run.json"))
        difference = first_difference(content["config"], wanted)
        if difference:
            raise CheckpointError(f"{self.url(step)} {difference}. Give it the run's own value, or start anew under another run.name.")
        ready = groups_from_table(pq.read_table(pa.BufferReader(self._fs.cat_file(f"{root}/pairs.parquet"))))
        ledger = Ledger.from_table(pq.read_table(pa.BufferReader(self._fs.cat_file(f"{root}/ledger.parquet"))))
        return SavedState(
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

    def fault(self, step: int) -> str | None:
        """What is wrong with a checkpoint, None where it is complete."""
        if not self.is_complete(step):
            return "is cut short: it has no manifest"
        try:
            manifest = json.loads(self._fs.cat_file(f"{self._base}/{step}/{MANIFEST}"))
        except ValueError:  # no JSON, or not even text: a disk that lost power may leave zeros
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

    def _seal(self, step: int, number: int, files: dict[str, str], state: SavedState, fingerprint: Mapping[str, Any]) -> None:
        """Write a state, and the manifest that makes it and `files` count."""
        if self.before_seal is not None:
            self.before_seal(step)
        content = {
            f"state-{number}/run.json": json.dumps(_state_json(state, fingerprint), indent=1, allow_nan=False).encode(),
            f"state-{number}/pairs.parquet": _parquet(groups_to_table(state.ready)),
            f"state-{number}/ledger.parquet": _parquet(state.ledger.to_table()),
        }
        for name, data in content.items():
            self._write(step, name, data)
        hashes = files | {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
        self._write(step, MANIFEST, json.dumps({"format": FORMAT, "state": number, "files": hashes}, indent=1).encode())

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


def _state_json(state: SavedState, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "config": dict(fingerprint),
        "rounds_done": state.rounds_done,
        "rounds_admitted": state.rounds_admitted,
        "version": [state.version.incarnation, state.version.number],
        "next_admission_id": state.next_admission_id,
        "cursor_position": state.cursor_position,
        "in_flight": [list(astuple(one)) for one in state.in_flight],
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
