"""The ledger: every admission ends in exactly one outcome, and the counts add up. A plain state machine; it owns no files.

A trained admission is in the lineage of the live weights once: `learned` names the version that learned from it. Where the learner rolls
back behind that version, `roll_back` marks it, and `replay` says which version of the next incarnation learned from it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from caig_rl.runs.folder import RunFolder
from caig_rl.types import Admission, Outcome, PolicyVersion, Rejected

REJECTED = "rejected"
"""In the column `outcome`: a catalog row that never became a product, so never an admission."""

LEDGER_FILE = "ledger.parquet"
_SHOWN = ("round", "product_id", "outcome", "kind", "message")
"""Columns that report and status read; ledgers of earlier versions have them too."""

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
        ("learned", pa.string()),
        ("rolled_back", pa.list_(pa.string())),
        ("score", pa.float64()),
        ("guard_score", pa.float64()),
        ("segment", pa.string()),
    ]
)
"""Columns of `ledger.parquet`. `version` wrote the prompts, `learned` is the surviving version that the training on them made, and
`rolled_back` names those before it that were discarded with a lost learner. `score` and `guard_score` are means over the admission's
creatives, by the reward model and by the guard, in log-odds; null where there is none. `outcome` is null while an admission is in flight. A
rejected row has no admission id, round or seed; its `kind` is the reason's code and `where` the place it was read. `segment` is empty where
shoppers are not told apart."""
_SCORES = ("score", "guard_score")
_ADDED_LATER = (*_SCORES, "segment")
"""The last columns, which ledgers of before them lack."""
_TAKEN = ("kind", "message", "version", "attempts", "finished_round", "worker", "learned", *_SCORES)
"""Columns that an entry keeps as they are."""


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
    learned: str = ""
    rolled_back: tuple[str, ...] = ()
    score: float | None = None
    guard_score: float | None = None


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

    def scored(self, admission_id: int, score: float | None, guard_score: float | None) -> None:
        """Note the mean scores of an open admission's creatives by reward model and guard, log-odds; None where there is none."""
        entry = self._entries[admission_id]
        assert entry.outcome is None, f"admission {admission_id} is {entry.outcome} already"
        entry.score, entry.guard_score = score, guard_score

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
        learned: PolicyVersion | None = None,
    ) -> None:
        """Give an open admission its one outcome.

        `kind` is a short code ("unusable"), and a failure must have one; `message` says it in words. `version` wrote the prompts.
        `attempts` counts the times its shard was issued, `worker` wrote the prompts. `round` is when it ended, by default the round it was
        admitted in. `learned` is the version that was trained on it.
        """
        assert admission_id in self._entries, f"admission {admission_id} was never admitted"
        entry = self._entries[admission_id]
        assert entry.outcome is None, f"admission {admission_id} is {entry.outcome} already, and cannot become {outcome}"
        assert kind or outcome is not Outcome.FAILED, f"admission {admission_id} failed without a kind"
        entry.outcome, entry.kind, entry.message = outcome, kind, message
        entry.version = "" if version is None else str(version)
        entry.attempts, entry.worker = attempts, worker
        entry.finished_round = entry.admission.round if round is None else round
        entry.learned = "" if learned is None else str(learned)

    def roll_back(self, rounds_kept: int) -> list[int]:
        """The learner fell back to the weights of `rounds_kept` rounds: what was trained later has left the lineage, and is marked.

        Returns the rounds that are to be trained again, rising: those of every admission that is trained and in no surviving weights.
        """
        first = self.first_not_learned()
        assert first is None or rounds_kept <= first, f"round {first} is in no weights yet, and cannot be among {rounds_kept} kept rounds"
        for entry in self._trained():
            if entry.learned and (entry.finished_round or 0) >= rounds_kept:
                entry.rolled_back, entry.learned = (*entry.rolled_back, entry.learned), ""
        return sorted({entry.finished_round or 0 for entry in self._trained() if not entry.learned})

    def first_not_learned(self) -> int | None:
        """The first round that was rolled back and not yet trained again; None where there is none."""
        return min((entry.finished_round or 0 for entry in self._trained() if not entry.learned), default=None)

    def to_replay(self, round_number: int) -> list[int]:
        """Ids of the admissions that round `round_number` trained and no surviving weights have learned from, rising."""
        found = [entry for entry in self._trained() if entry.finished_round == round_number and not entry.learned]
        return sorted(entry.admission.admission_id for entry in found)

    def replay(self, admission_ids: Iterable[int], learned: PolicyVersion) -> None:
        """They were trained again, and are in the lineage of `learned` now."""
        for admission_id in admission_ids:
            entry = self._entries[admission_id]
            assert entry.outcome is Outcome.TRAINED and not entry.learned, f"admission {admission_id} was not rolled back"
            entry.learned = str(learned)

    def open_admissions(self) -> list[Admission]:
        """Admissions without an outcome, in order of admission id."""
        return [self._entries[key].admission for key in sorted(self._entries) if self._entries[key].outcome is None]

    def learned(self) -> dict[int, tuple[int, PolicyVersion | None]]:
        """For every trained admission its round and the version that learned from it; None where it is in no surviving weights."""
        return {
            entry.admission.admission_id: (entry.finished_round or 0, PolicyVersion.parse(entry.learned) if entry.learned else None)
            for entry in self._trained()
        }

    def trained_by_round(self) -> dict[int, list[int]]:
        """Ids of the trained admissions by the round that trained them, rising."""
        rounds: dict[int, list[int]] = {}
        for admission_id, (number, _) in sorted(self.learned().items()):
            rounds.setdefault(number, []).append(admission_id)
        return rounds

    def guarded_rounds(self, num_rounds: int) -> dict[int, dict[str, tuple[float, float]]]:
        """Of each round below `num_rounds`: product id -> (score, guard's score), of the products that have both. Rounds rise."""
        found: dict[int, dict[str, tuple[float, float]]] = {number: {} for number in range(num_rounds)}
        for entry in self._entries.values():
            if entry.admission.round < num_rounds and entry.score is not None and entry.guard_score is not None:
                found[entry.admission.round][entry.admission.product_id] = (entry.score, entry.guard_score)
        return found

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
        """The ledger that `to_table` wrote, now or in earlier versions. Raises ValueError on other columns."""
        if table.schema.names not in [SCHEMA.names[:end] for end in range(len(SCHEMA.names) - len(_ADDED_LATER), len(SCHEMA.names) + 1)]:
            raise ValueError(f"a ledger has the columns {SCHEMA.names}, not {table.schema.names}")
        ledger = cls()
        for row in table.to_pylist():
            if row["outcome"] == REJECTED:
                ledger._rejected.append(Rejected(row["where"], row["kind"], row["message"]))
                continue
            admission = Admission(row["admission_id"], row["round"], row["product_id"], row["seed"], row.get("segment") or "")
            outcome = None if row["outcome"] is None else Outcome(row["outcome"])
            taken = {name: row.get(name) for name in _TAKEN}
            ledger._entries[admission.admission_id] = _Entry(admission, outcome, **taken, rolled_back=tuple(row["rolled_back"]))
        return ledger

    def _trained(self) -> list[_Entry]:
        return [entry for entry in self._entries.values() if entry.outcome is Outcome.TRAINED]


def read_rows(folder: RunFolder) -> pa.Table:
    """`ledger.parquet` of a run, with no rows where it has none yet. Raises UserError where it is damaged."""
    if not folder.exists(LEDGER_FILE):
        return SCHEMA.empty_table()
    table = folder.read_table(LEDGER_FILE)
    missing = [name for name in _SHOWN if name not in table.schema.names]
    if missing:
        raise folder.damaged(LEDGER_FILE, ValueError(f"it lacks the column {missing[0]}"))
    return table


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
        "learned": entry.learned,
        "rolled_back": list(entry.rolled_back),
        "score": entry.score,
        "guard_score": entry.guard_score,
        "segment": entry.admission.segment,
    }


def _rejected_row(row: Rejected) -> dict[str, object]:
    return {"product_id": "", "outcome": REJECTED, "kind": row.reason, "message": row.message, "where": row.where}
