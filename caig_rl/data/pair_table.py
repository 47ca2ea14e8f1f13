"""Preference pairs as Arrow rows: the run's journal, and the batches that the learner reads from the object store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from caig_rl.types import Admission, NegativeKind, PolicyVersion, PreferencePair, Rollout

_ROLLOUT = pa.struct([("text", pa.string()), ("token_ids", pa.list_(pa.int32())), ("logprobs", pa.list_(pa.float64()))])

SCHEMA = pa.schema(
    [
        ("admission_id", pa.int64()),
        ("round", pa.int64()),
        ("product_id", pa.string()),
        ("seed", pa.uint64()),
        ("incarnation", pa.int64()),
        ("version", pa.int64()),
        ("instruction", pa.string()),
        ("chosen", _ROLLOUT),
        ("rejected", _ROLLOUT),
        ("chosen_score", pa.float64()),
        ("rejected_score", pa.float64()),
        ("negative", pa.string()),
        ("negative_seed", pa.int64()),
        ("negative_product_id", pa.string()),
        ("negative_instruction", pa.string()),
        ("scores", pa.list_(pa.float64())),
    ]
)
"""Columns of `pairs/*.parquet`: one preference a row, with all that is needed to replay it."""


def pairs_to_table(pairs: Sequence[PreferencePair]) -> pa.Table:
    """Arrow table of `SCHEMA`, one row a pair, in the order given."""
    return pa.Table.from_pylist([_row(pair) for pair in pairs], schema=SCHEMA)


def pairs_from_table(table: pa.Table) -> list[PreferencePair]:
    """The pairs that `pairs_to_table` wrote. Raises ValueError on other columns."""
    if table.schema.names != SCHEMA.names:
        raise ValueError(f"a table of pairs has the columns {SCHEMA.names}, not {table.schema.names}")
    return [_pair(row) for row in table.to_pylist()]


def _rollout_row(rollout: Rollout) -> dict[str, Any]:
    return {"text": rollout.text, "token_ids": list(rollout.token_ids), "logprobs": list(rollout.logprobs)}


def _rollout(row: dict[str, Any]) -> Rollout:
    return Rollout(row["text"], tuple(row["token_ids"]), tuple(row["logprobs"]))


def _row(pair: PreferencePair) -> dict[str, Any]:
    return {
        "admission_id": pair.admission.admission_id,
        "round": pair.admission.round,
        "product_id": pair.admission.product_id,
        "seed": pair.admission.seed,
        "incarnation": pair.version.incarnation,
        "version": pair.version.number,
        "instruction": pair.instruction,
        "chosen": _rollout_row(pair.chosen),
        "rejected": _rollout_row(pair.rejected),
        "chosen_score": pair.chosen_score,
        "rejected_score": pair.rejected_score,
        "negative": str(pair.negative),
        "negative_seed": pair.negative_seed,
        "negative_product_id": pair.negative_product_id,
        "negative_instruction": pair.negative_instruction,
        "scores": list(pair.scores),
    }


def _pair(row: dict[str, Any]) -> PreferencePair:
    return PreferencePair(
        admission=Admission(row["admission_id"], row["round"], row["product_id"], row["seed"]),
        version=PolicyVersion(row["incarnation"], row["version"]),
        instruction=row["instruction"],
        chosen=_rollout(row["chosen"]),
        rejected=_rollout(row["rejected"]),
        chosen_score=row["chosen_score"],
        rejected_score=row["rejected_score"],
        negative=NegativeKind(row["negative"]),
        negative_seed=row["negative_seed"],
        negative_product_id=row["negative_product_id"],
        negative_instruction=row["negative_instruction"],
        scores=tuple(row["scores"]),
    )
