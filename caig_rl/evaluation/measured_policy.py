"""What the measurement of one policy on held-out products came to. Plain: a checkpoint keeps it as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np

from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy
from caig_rl.runs.gallery import GallerySide
from caig_rl.types import PromptCheck


@dataclass(frozen=True, slots=True)
class MeasuredPolicy:
    """A policy's evaluation and the gallery's half that shows it."""

    evaluated: EvaluatedPolicy
    """The products that could be measured, in the evaluation's order."""
    gallery: Mapping[str, GallerySide]
    """The first candidate of each gallery product, by product id."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Products that could not be measured, and why."""

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        one = self.evaluated
        return {
            "product_ids": list(one.product_ids),
            "prompts": [list(texts) for texts in one.prompts],
            "scores": one.scores.tolist(),
            "ctrs": None if one.ctrs is None else one.ctrs.tolist(),
            "relevances": None if one.relevances is None else one.relevances.tolist(),
            "checks": None if one.checks is None else [[list(astuple(check)) for check in row] for row in one.checks],
            "unseen": list(one.unseen),
            "gallery": {name: side.model_dump(mode="json") for name, side in self.gallery.items()},
            "left_out": dict(self.left_out),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> MeasuredPolicy:
        """What `to_json` wrote, now or before prompts were checked and categories kept from training."""
        evaluated = EvaluatedPolicy(
            product_ids=tuple(content["product_ids"]),
            prompts=tuple(tuple(texts) for texts in content["prompts"]),
            scores=np.array(content["scores"], dtype=np.float64),
            ctrs=None if content["ctrs"] is None else np.array(content["ctrs"], dtype=np.float64),
            relevances=None if content["relevances"] is None else np.array(content["relevances"], dtype=np.float64),
            checks=_checks(content.get("checks")),
            unseen=tuple(content.get("unseen", ())),
        )
        gallery = {name: GallerySide.model_validate(side) for name, side in content["gallery"].items()}
        return cls(evaluated, gallery, content["left_out"])


def _checks(rows: list[list[list[Any]]] | None) -> tuple[tuple[PromptCheck, ...], ...] | None:
    if rows is None:
        return None
    return tuple(
        tuple(PromptCheck(malformed, trap, tuple(attributes), background) for malformed, trap, attributes, background in row)
        for row in rows
    )
