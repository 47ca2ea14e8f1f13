"""The ledger: every admission ends in exactly one outcome, and the counts add up. A plain state machine; it owns no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from caig_rl.types import Admission, Outcome, PolicyVersion, Rejected

REJECTED = "rejected"
"""In the column `outcome`: a catalog row that never became a product, so never an admission."""

SCHEMA = pa.schema(
    [
        ("admission_id", pa.int64()),
        ("round", pa.int64()),
        ("product_id", pa.string()),
        ("seed", pa.uint64()),
        ("version", pa.string()),
        ("outcome", pa.string()),
        ("kind", pa.string()),
        ("message", pa.string()),
        ("attempts", pa.int64()),
        ("finished_round", pa.int64()),
        ("worker", pa.string()),
        ("where", pa.string()),
    ]
)
"""Columns of `ledger.parquet`. `outcome` is null while an admission is in flight. A rejected row has no admission id, round or seed;
its `kind` is the reason's code and `where` the place it was read."""


@dataclass(slots=True)
class _Entry:
    admission: Admission
    outcome: Outcome | None = None
    kind: str = ""
    message: str = ""
    version: str = ""
    attempts: int = 0
    finished_round: int | None = None
    worker: str = ""


class Ledger:
    """Admissions and how they ended, with the rejected catalog rows beside them."""

    def __init__(self, rejected: Iterable[Rejected] = ()) -> None:
        """`rejected`: the catalog's rejected rows, in the catalog's order."""
        self._entries: dict[int, _Entry] = {}
        self._rejected: list[Rejected] = list(rejected)

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """The catalog rows that never became a product."""
        return tuple(self._rejected)

    def admit(self, admission: Admission) -> None:
        """Open an admission. Its id must be new."""
        assert admission.admission_id not in self._entries, f"admission {admission.admission_id} was admitted before"
        self._entries[admission.admission_id] = _Entry(admission)

    def finish(
        self,
        admission_id: int,
        outcome: Outcome,
        kind: str = "",
        *,
        message: str = "",
        version: PolicyVersion | None = None,
        attempts: int = 1,
        round: int | None = None,
        worker: str = "",
    ) -> None:
        """Give an open admission its one outcome.

        `kind` is a short code ("unusable"), and a failure must have one; `message` says it in words. `version` wrote the prompts.
        `attempts` counts the times its shard was issued. `round` is when it ended, by default the round it was admitted in.
        """
        assert admission_id in self._entries, f"admission {admission_id} was never admitted"
        entry = self._entries[admission_id]
        assert entry.outcome is None, f"admission {admission_id} is {entry.outcome} already, and cannot become {outcome}"
        assert kind or outcome is not Outcome.FAILED, f"admission {admission_id} failed without a kind"
        entry.outcome, entry.kind, entry.message = outcome, kind, message
        entry.version = "" if version is None else str(version)
        entry.attempts, entry.worker = attempts, worker
        entry.finished_round = entry.admission.round if round is None else round

    def open_admissions(self) -> list[Admission]:
        """Admissions without an outcome, in order of admission id."""
        return [self._entries[key].admission for key in sorted(self._entries) if self._entries[key].outcome is None]

    def counts(self) -> dict[str, int | dict[str, int]]:
        """`products` of the summary. `admitted` counts the admissions that ended, `in_flight` those that have not."""
        ended = [entry for entry in self._entries.values() if entry.outcome is not None]
        outcomes = Counter(entry.outcome for entry in ended)
        return {
            "admitted": len(ended),
            "trained": outcomes[Outcome.TRAINED],
            "failed": _by_code(entry.kind for entry in ended if entry.outcome is Outcome.FAILED),
            "expired": outcomes[Outcome.EXPIRED],
            "tied": outcomes[Outcome.TIED],
            "rejected": _by_code(row.reason for row in self._rejected),
            "in_flight": len(self._entries) - len(ended),
        }

    def staleness(self) -> list[int]:
        """How many versions each trained admission was behind the learner, in the order of rounds: round r is learned at version r."""
        trained = [entry for entry in self._entries.values() if entry.outcome is Outcome.TRAINED and entry.version]
        trained.sort(key=lambda entry: entry.finished_round or 0)
        return [max(0, (entry.finished_round or 0) - int(entry.version.rpartition(".")[2])) for entry in trained]

    def to_table(self) -> pa.Table:
        """The whole ledger as an Arrow table of `SCHEMA`: admissions by id, then rejected rows."""
        rows = [_admission_row(self._entries[key]) for key in sorted(self._entries)]
        rows += [_rejected_row(row) for row in self._rejected]
        return pa.Table.from_pylist(rows, schema=SCHEMA)

    @classmethod
    def from_table(cls, table: pa.Table) -> Ledger:
        """The ledger that `to_table` wrote. Raises ValueError on other columns."""
        if table.schema.names != SCHEMA.names:
            raise ValueError(f"a ledger has the columns {SCHEMA.names}, not {table.schema.names}")
        ledger = cls()
        for row in table.to_pylist():
            if row["outcome"] == REJECTED:
                ledger._rejected.append(Rejected(row["where"], row["kind"], row["message"]))
                continue
            admission = Admission(row["admission_id"], row["round"], row["product_id"], row["seed"])
            outcome = None if row["outcome"] is None else Outcome(row["outcome"])
            ledger._entries[admission.admission_id] = _Entry(
                admission, outcome, row["kind"], row["message"], row["version"], row["attempts"], row["finished_round"], row["worker"]
            )
        return ledger


def _by_code(codes: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(codes).items()))


def _admission_row(entry: _Entry) -> dict[str, object]:
    return {
        "admission_id": entry.admission.admission_id,
        "round": entry.admission.round,
        "product_id": entry.admission.product_id,
        "seed": entry.admission.seed,
        "version": entry.version,
        "outcome": None if entry.outcome is None else str(entry.outcome),
        "kind": entry.kind,
        "message": entry.message,
        "attempts": entry.attempts,
        "finished_round": entry.finished_round,
        "worker": entry.worker,
        "where": "",
    }


def _rejected_row(row: Rejected) -> dict[str, object]:
    return {"product_id": "", "outcome": REJECTED, "kind": row.reason, "message": row.message, "where": row.where}
