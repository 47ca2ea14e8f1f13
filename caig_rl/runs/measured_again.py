"""`evaluation.json`: a finished run's two policies measured again, on more products than the run itself took the time for."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import (
    CategoriesSummary,
    CtrSummary,
    EvaluationSummary,
    PromptsSummary,
    RelevanceSummary,
    RunSummary,
    SegmentSummary,
)

EVALUATION_FILE = "evaluation.json"


class MeasuredAgain(BaseModel):
    """The comparison. `initial` and `final` hold every product's numbers, for who wants to compare runs product by product."""

    model_config = ConfigDict(frozen=True)

    rounds: int | None = None
    """Rounds done by the final policy, which may be that of a run under way; None in files of earlier versions."""
    products: int
    prompts_per_product: int
    products_held_out: int | None = None
    """Products that it could have been on and that the run never admitted; 0: it was on products that training has seen. None: as the run's
    own measurement."""
    ctr: CtrSummary
    relevance: RelevanceSummary
    prompts: PromptsSummary | None = None
    categories: CategoriesSummary | None = None
    segments: tuple[SegmentSummary, ...] = ()
    initial: dict[str, Any]
    final: dict[str, Any]


def read_measured_again(folder: RunFolder) -> MeasuredAgain | None:
    """None where nobody has measured again. Raises UserError where the file is damaged."""
    if not folder.exists(EVALUATION_FILE):
        return None
    try:
        return MeasuredAgain.model_validate_json(folder.read_text(EVALUATION_FILE))
    except ValidationError as error:
        raise folder.damaged(EVALUATION_FILE, error) from error


def with_better_measurement(summary: RunSummary, again: MeasuredAgain | None) -> RunSummary:
    """`summary` with what the measurement on more products came to, where that is of the policy that the run gave out."""
    own, rounds = summary.evaluation, summary.rounds if summary.result is None else summary.result.rounds
    if again is None or own is None or again.products <= own.products or again.rounds not in (None, rounds):
        return summary
    held_out = again.products_held_out
    evaluation = EvaluationSummary(
        products=again.products,
        prompts_per_product=again.prompts_per_product,
        held_out=own.held_out if held_out is None else held_out > 0,
        products_held_out=held_out,
    )
    by_kind = {"categories": again.categories, "segments": again.segments}
    measured = {"ctr": again.ctr, "relevance": again.relevance, "evaluation": evaluation} | by_kind
    # A file of before prompts were checked knows nothing of them: the run's own table stays.
    return summary.model_copy(update=measured | {"prompts": again.prompts or summary.prompts})
