from __future__ import annotations

import json

import numpy as np
import pytest

from actors.evaluation.baseline import Baseline
from caig_rl.evaluation.measured_policy import MeasuredPolicy
from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy


def test_before_it_is_measured_nobody_gets_it_and_no_checkpoint_holds_it() -> None:
    baseline = Baseline()
    assert not baseline.is_measured
    for ask in (baseline.measured, baseline.to_json):
        with pytest.raises(RuntimeError, match="the initial policy is not measured yet"):
            ask()


def test_a_resumed_run_is_measured_against_the_same_policy_and_ceilings() -> None:
    baseline = Baseline()
    baseline.initial = MeasuredPolicy(EvaluatedPolicy(("mug",), (("wood",),), np.array([[0.5]]), None, None), {}, {"hose": "no pixels"})
    baseline.ctr_ceilings = {"mug": 0.04}
    again = Baseline()
    again.restore(json.loads(json.dumps({**baseline.to_json(), "details": []})))
    assert again.is_measured and again.ctr_ceilings == {"mug": 0.04}
    assert again.to_json() == baseline.to_json() and again.measured().left_out == {"hose": "no pixels"}
