"""What a run is measured against: its initial policy, and the best known prompt of each held-out product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caig_rl.evaluation.measured_policy import MeasuredPolicy


class Baseline:
    """Measured once, before the first round."""

    def __init__(self, initial: MeasuredPolicy | None = None, ctr_ceilings: Mapping[str, float] | None = None) -> None:
        """Both are given where an earlier run with the same initial policy measured them."""
        self.initial = initial
        """None until it is measured."""
        self.ctr_ceilings: Mapping[str, float] = ctr_ceilings or {}
        """True CTR of the best known prompt by product id, a fraction of impressions; empty where nobody knows it."""

    @property
    def is_measured(self) -> bool:
        """True once the initial policy is measured."""
        return self.initial is not None

    def measured(self) -> MeasuredPolicy:
        """The initial policy. Raises RuntimeError where it is not measured yet."""
        if self.initial is None:
            raise RuntimeError("the initial policy is not measured yet")
        return self.initial

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint. Raises RuntimeError where the initial policy is not measured yet."""
        return {"before": self.measured().to_json(), "ctr_ceilings": dict(self.ctr_ceilings)}

    def restore(self, content: dict[str, Any]) -> None:
        """Take up what `to_json` gave; other keys of `content` are left alone."""
        self.initial, self.ctr_ceilings = MeasuredPolicy.from_json(content["before"]), content["ctr_ceilings"]
