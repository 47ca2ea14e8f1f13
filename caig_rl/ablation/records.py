"""What a finished cell leaves: `cell.json` in its own folder, and a row of `cells.jsonl` beside all others'.

A cell is finished where its `cell.json` is there. It is written last and whole, so a cell that was killed is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from caig_rl.ablation.cells import Cell, Plan, refuse_other_settings
from caig_rl.ablation.training_curve import CurvePoint, painted_to_half, training_curve
from caig_rl.evaluation.category_comparison import compare_by_category
from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy, PolicyComparison, compare_policies, mean_ceiling
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import read_summary

CELL_FILE, ROWS_FILE = "cell.json", "cells.jsonl"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class CellRow(_Part):
    """One row of `cells.jsonl`. Rates are fractions; null is not measured, or does not apply."""

    arm: str
    kind: Literal["train", "best_of_n"]
    seed: int
    n: int | None = None
    of: str | None = None
    """best_of_n: whose creatives."""
    products: int
    """Held out, measured before and after."""
    prompts_per_product: int
    ctr_initial: float
    """Mean true CTR of the initial policy."""
    ctr_final: float
    lift: float
    lift_ci95: tuple[float, float] | None
    """Bootstrap over products."""
    ceiling: float | None
    """Mean true CTR of the best known prompts."""
    way: float | None
    """Share of the way from the initial policy to the best known prompts."""
    relevance_initial: float | None
    relevance_final: float | None
    distinct_initial: float | None
    distinct_final: float | None
    lift_unseen: float | None = None
    """Lift on the products of categories that training does not see."""
    kl: float | None = None
    malformed_initial: float | None = None
    malformed: float | None = None
    """Share of malformed prompts, of the final policy."""
    trap_initial: float | None = None
    trap: float | None = None
    """Share of prompts that ask for the world's trap, of the final policy."""
    painted: int = 0
    """Creatives painted to train."""
    painted_per_creative: int = 1
    """Creatives painted for each that is shown, once trained."""
    painted_to_half: float | None = None
    """Creatives painted until the policy had half of its lift (`training_curve.painted_to_half`)."""
    curve: tuple[CurvePoint, ...] = ()
    """True CTR of the training creatives against the creatives painted before."""
    rounds: int = 0
    policy_sha256: str | None = None
    wall_s: float
    """Seconds that the cell took, over all its lives, without what it shares with others."""
    simulated: bool = True
    """True where shoppers are simulated."""


class CellRecord(_Part):
    """`cell.json`: the row, and the held-out products one by one, for paired comparisons."""

    row: CellRow
    product_ids: tuple[str, ...]
    ctr_initial: tuple[float, ...]
    """(P,) mean over a product's prompts, as are the others."""
    ctr_final: tuple[float, ...]
    relevance_final: tuple[float, ...]

    def ctrs(self, product_ids: Sequence[str]) -> npt.NDArray[np.float64]:
        """(len(product_ids),) final CTRs of these products."""
        by_id = dict(zip(self.product_ids, self.ctr_final, strict=True))
        return np.array([by_id[name] for name in product_ids])


@dataclass(frozen=True, slots=True)
class Measured:
    """Both policies of a cell, on the held-out products."""

    before: EvaluatedPolicy
    after: EvaluatedPolicy
    ceilings: Mapping[str, float]
    """True CTR of the best known prompt by product id, where it is known."""


def make_record(cell: Cell, measured: Measured, wall_s: float, **run: Any) -> CellRecord:
    """The record of a finished cell. `run`: what only this kind of cell knows (`facts_of_run`, `pick_rates`)."""
    ids = [name for name in measured.before.product_ids if name in set(measured.after.product_ids)]
    before, after = measured.before.only(ids), measured.after.only(ids)
    if before.ctrs is None or after.ctrs is None or after.relevances is None:
        raise ValueError(f"{cell.name} has no true CTRs: nobody judged")
    found = compare_policies(before, after, cell.config.evaluation.bootstrap, cell.seed)
    assert found.ctr_initial is not None and found.ctr_final is not None and found.lift is not None
    ceiling = mean_ceiling(measured.ceilings, ids)
    categories = compare_by_category(before, after, measured.ceilings, cell.config.evaluation.bootstrap, cell.seed)
    unseen = None if categories is None or categories.unseen is None else categories.unseen.ctr
    picks = cell.arm.kind == "best_of_n"
    if "curve" in run:
        run["painted_to_half"] = painted_to_half(run["curve"], run["painted"], found.lift)
    row = CellRow(
        arm=cell.arm.name,
        kind=cell.arm.kind,
        seed=cell.seed,
        n=cell.arm.n,
        of=cell.arm.of if picks else None,
        products=found.num_products,
        prompts_per_product=after.num_prompts,
        ctr_initial=found.ctr_initial,
        ctr_final=found.ctr_final,
        lift=found.lift,
        lift_ci95=None if found.ci95 is None else tuple(found.ci95),
        ceiling=ceiling,
        way=None
        if ceiling is None or ceiling <= found.ctr_initial
        else (found.ctr_final - found.ctr_initial) / (ceiling - found.ctr_initial),
        relevance_initial=found.relevance_initial,
        relevance_final=found.relevance_final,
        distinct_initial=found.distinct_initial,
        distinct_final=found.distinct_final,
        lift_unseen=None if unseen is None else unseen.lift,
        painted_per_creative=cell.arm.n or 1,
        wall_s=wall_s,
        **_rates(found) | run,
    )
    measured_by = ((before, before.ctrs), (after, after.ctrs), (after, after.relevances))
    means = [tuple(float(one) for one in policy.per_product(values)) for policy, values in measured_by]
    return CellRecord(row=row, product_ids=tuple(ids), ctr_initial=means[0], ctr_final=means[1], relevance_final=means[2])


def facts_of_run(folder: RunFolder) -> dict[str, Any]:
    """What a finished run's own files say beside its two measurements. Raises UserError where they are missing or damaged."""
    summary = read_summary(folder)
    return {
        "kl": summary.policy.kl,
        "painted": summary.creatives.painted,
        "curve": training_curve(folder.read_metrics()),
        "rounds": summary.rounds,
        "policy_sha256": summary.policy.sha256,
        "simulated": summary.simulated,
    }


def write_record(folder: RunFolder, record: CellRecord) -> None:
    """The last file of a cell: with it the cell is finished."""
    folder.write_text(CELL_FILE, record.model_dump_json(indent=1) + "\n")


def read_record(folder: RunFolder) -> CellRecord | None:
    """None where the cell is not finished. Raises UserError where its record is damaged."""
    if not folder.exists(CELL_FILE):
        return None
    try:
        return CellRecord.model_validate_json(folder.read_text(CELL_FILE))
    except ValidationError as error:
        raise folder.damaged(CELL_FILE, error) from error


def finished_cells(plan: Plan) -> dict[str, CellRecord]:
    """Every finished cell of the plan, selected or not, by name.

    Raises:
        ConfigError: a cell was finished with other settings than the plan's.
        UserError: a record is damaged.
    """
    found = {}
    for cell in plan.every_cell:
        folder = plan.cell_folder(cell.name)
        record = read_record(folder)
        if record is not None:
            refuse_other_settings(cell, folder)
            found[cell.name] = record
    return found


def write_rows(folder: RunFolder, records: Iterable[CellRecord]) -> str:
    """Write `cells.jsonl` anew; returns its address."""
    return folder.write_text(ROWS_FILE, "".join(record.row.model_dump_json() + "\n" for record in records))


def _rates(found: PolicyComparison) -> dict[str, float | None]:
    ends = {"_initial": found.prompts_initial, "": found.prompts_final}
    return {f"{what}{end}": getattr(health, what) for end, health in ends.items() for what in ("malformed", "trap") if health is not None}
