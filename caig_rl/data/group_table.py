"""Preference groups as Arrow rows: the run's journal, and the batches that the learner reads from the object store."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any

import pyarrow as pa

from caig_rl.types import Admission, NegativeKind, PolicyVersion, PreferenceGroup, Rollout

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
        ("candidates", pa.list_(_ROLLOUT)),
        ("scores", pa.list_(pa.float64())),
        ("shaped", pa.list_(pa.float64())),
        ("guard_scores", pa.list_(pa.float64())),
        ("negative", pa.string()),
        ("negative_seed", pa.int64()),
        ("negative_product_id", pa.string()),
        ("negative_instruction", pa.string()),
        ("segment", pa.string()),
    ]
)
"""Columns of `pairs/*.parquet`: one group a row, with all that is needed to learn from it again. `segment` is empty where shoppers are not
told apart."""
_ADDED_LATER = frozenset({"guard_scores", "segment"})
"""Columns that journals of before them lack."""
_OF_PAIRS = frozenset({"chosen", "rejected", "chosen_score", "rejected_score"})
"""Columns of journals that kept the best and the worst candidate only (before groups)."""


def groups_to_table(groups: Sequence[PreferenceGroup]) -> pa.Table:
    """Arrow table of `SCHEMA`, one row a group, in the order given."""
    return pa.Table.from_pylist([_row(group) for group in groups], schema=SCHEMA)


def groups_from_table(table: pa.Table) -> list[PreferenceGroup]:
    """The groups that `groups_to_table` wrote, now or in earlier versions; of a journal of pairs, groups of two.

    Raises ValueError on other columns.
    """
    names, known = set(table.schema.names) - _ADDED_LATER, set(SCHEMA.names) - _ADDED_LATER
    if names == known:
        return [_group(row) for row in table.to_pylist()]
    if names == (known - {"candidates", "shaped"}) | _OF_PAIRS:
        return [_group(_as_group(row)) for row in table.to_pylist()]
    raise ValueError(f"a table of preference groups has the columns {SCHEMA.names}, not {table.schema.names}")


def _rollout_row(rollout: Rollout) -> dict[str, Any]:
    return {"text": rollout.text, "token_ids": list(rollout.token_ids), "logprobs": list(rollout.logprobs)}


def _rollout(row: dict[str, Any]) -> Rollout:
    return Rollout(row["text"], tuple(row["token_ids"]), tuple(row["logprobs"]))


def _row(group: PreferenceGroup) -> dict[str, Any]:
    return {
        "admission_id": group.admission.admission_id,
        "round": group.admission.round,
        "product_id": group.admission.product_id,
        "seed": group.admission.seed,
        "incarnation": group.version.incarnation,
        "version": group.version.number,
        "instruction": group.instruction,
        "candidates": [_rollout_row(rollout) for rollout in group.candidates],
        "scores": list(group.scores),
        "shaped": list(group.shaped),
        "guard_scores": list(group.guard_scores),
        "negative": str(group.negative),
        "negative_seed": group.negative_seed,
        "negative_product_id": group.negative_product_id,
        "negative_instruction": group.negative_instruction,
        "segment": group.admission.segment,
    }


def _group(row: dict[str, Any]) -> PreferenceGroup:
    return PreferenceGroup(
        admission=Admission(row["admission_id"], row["round"], row["product_id"], row["seed"], row.get("segment", "")),
        version=PolicyVersion(row["incarnation"], row["version"]),
        instruction=row["instruction"],
        candidates=tuple(_rollout(candidate) for candidate in row["candidates"]),
        scores=_numbers(row["scores"]),
        negative=NegativeKind(row["negative"]),
        negative_seed=row["negative_seed"],
        negative_product_id=row["negative_product_id"],
        negative_instruction=row["negative_instruction"],
        shaped=_numbers(row["shaped"]),
        guard_scores=_numbers(row.get("guard_scores", ())),
    )


def _numbers(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(nan if value is None else value for value in values)


def _as_group(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a pair. It kept two answers of K, so the scores of the others say nothing here."""
    candidates, scores = [row["chosen"], row["rejected"]], [row["chosen_score"], row["rejected_score"]]
    return row | {"candidates": candidates, "scores": scores, "shaped": []}
