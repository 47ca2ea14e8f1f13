"""What the measurement of one policy on held-out products came to. Plain: a checkpoint keeps it as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.gallery import GallerySide
from caig_rl.types import PromptCheck, RolloutGroup

MEASURED_FILE = "measured.json"
"""A run's two measurements, product by product."""


@dataclass(frozen=True, slots=True)
class MeasuredPolicy:
    """A policy's evaluation and the gallery's half that shows it."""

    evaluated: EvaluatedPolicy
    """The products that could be measured, in the evaluation's order."""
    gallery: Mapping[str, GallerySide]
    """The first candidate of each gallery product, by product id."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Products that could not be measured, and why."""
    answers: tuple[RolloutGroup, ...] = ()
    """The prompts of `evaluated` as they were sampled, with their log-probs, in its order; of segments of shoppers, all products' for one,
    then all products' for the next. At hand where it was measured; not in JSON."""

    def with_kls(self, kls: npt.NDArray[np.float64]) -> MeasuredPolicy:
        """With estimates of KL(policy || initial policy) in nats, a row for each of its answers' groups, which it keeps in their place."""
        parts = np.split(kls, len(self.evaluated.shares) or 1)
        return MeasuredPolicy(replace(self.evaluated, kls=np.concatenate(parts, axis=1)), self.gallery, self.left_out)

    def first(self, num: int) -> MeasuredPolicy:
        """What measuring it with `num` prompts a product had found: prompts and noise of a candidate do not depend on how many follow."""
        return MeasuredPolicy(self.evaluated.first(num), self.gallery, self.left_out)

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
            "kls": None if one.kls is None else one.kls.tolist(),
            "unseen": list(one.unseen),
            "shares": dict(one.shares),
            "segment_ctrs": {name: values.tolist() for name, values in one.segment_ctrs.items()},
            "gallery": {name: side.model_dump(mode="json") for name, side in self.gallery.items()},
            "left_out": dict(self.left_out),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> MeasuredPolicy:
        """What `to_json` wrote, now or before prompts were checked, categories kept from training, KLs measured and segments told apart."""
        evaluated = EvaluatedPolicy(
            product_ids=tuple(content["product_ids"]),
            prompts=tuple(tuple(texts) for texts in content["prompts"]),
            scores=np.array(content["scores"], dtype=np.float64),
            ctrs=None if content["ctrs"] is None else np.array(content["ctrs"], dtype=np.float64),
            relevances=None if content["relevances"] is None else np.array(content["relevances"], dtype=np.float64),
            checks=_checks(content.get("checks")),
            kls=None if content.get("kls") is None else np.array(content["kls"], dtype=np.float64),
            unseen=tuple(content.get("unseen", ())),
            shares=content.get("shares", {}),
            segment_ctrs={name: np.array(values, dtype=np.float64) for name, values in content.get("segment_ctrs", {}).items()},
        )
        gallery = {name: GallerySide.model_validate(side) for name, side in content["gallery"].items()}
        return cls(evaluated, gallery, content["left_out"])


def candidate_picture(name: str, candidate: int) -> str:
    """Name of the picture of a product's candidate, where `name` is that of the first. Both without or both with ".png"."""
    stem, dot, suffix = name.partition(".")
    return name if candidate == 0 else f"{stem}-{candidate}{dot}{suffix}"


def write_measured(folder: RunFolder, before: MeasuredPolicy, after: MeasuredPolicy) -> str:
    """Write `measured.json`; returns its address."""
    return folder.write_text(MEASURED_FILE, json.dumps({"before": before.to_json(), "after": after.to_json()}) + "\n")


def read_measured(folder: RunFolder) -> tuple[MeasuredPolicy, MeasuredPolicy]:
    """Initial and final policy. Raises UserError where the file is missing or damaged."""
    text = folder.read_text(MEASURED_FILE)
    try:
        content = json.loads(text)
        return MeasuredPolicy.from_json(content["before"]), MeasuredPolicy.from_json(content["after"])
    except (ValueError, KeyError, TypeError) as error:
        raise folder.damaged(MEASURED_FILE, error) from error


def _checks(rows: list[list[list[Any]]] | None) -> tuple[tuple[PromptCheck, ...], ...] | None:
    if rows is None:
        return None
    return tuple(
        tuple(PromptCheck(malformed, trap, tuple(attributes), background) for malformed, trap, attributes, background in row)
        for row in rows
    )
