from __future__ import annotations

import json

from actors.telemetry.round_totals import PromptCounts, RoundTotals
from caig_rl.runs.summary import CreativeCounts
from caig_rl.types import PromptCheck


def test_shards_add_up_and_the_largest_change_stays() -> None:
    one = CreativeCounts(painted=4, refused={"blank": 1}, product_difference=7)
    other = CreativeCounts(painted=8, refused={"blank": 2, "product_extended": 1})
    assert one.plus(other) == CreativeCounts(painted=12, refused={"blank": 3, "product_extended": 1}, product_difference=7)


def test_a_checkpoint_in_mid_round_keeps_what_the_gate_said() -> None:
    totals = RoundTotals([0.5, float("nan")], ["wood"], [], pairs=1, truncated=2, creatives=CreativeCounts(painted=2, refused={"blank": 1}))
    restored = RoundTotals.from_json(json.loads(json.dumps(totals.to_json())))
    assert restored.creatives == totals.creatives
    assert (restored.pairs, restored.truncated, restored.prompts) == (1, 2, ["wood"])


def test_malformed_prompts_and_traps_are_counted_over_shards_and_kept_in_mid_round() -> None:
    totals = RoundTotals([], [], [])
    assert (totals.checks.malformed_share, totals.checks.trap_share) == (None, None)
    totals.count_checks([PromptCheck(True, False, ()), PromptCheck(False, True, ())])
    totals.count_checks([PromptCheck(False, False, ()), PromptCheck(False, False, ())])
    assert (totals.checks.malformed_share, totals.checks.trap_share) == (0.25, 0.25)
    assert RoundTotals.from_json(json.loads(json.dumps(totals.to_json()))).checks == totals.checks


def test_without_a_judge_who_knows_the_trap_its_share_is_not_known() -> None:
    totals = RoundTotals([], [], [])
    totals.count_checks([PromptCheck(True, None, ())])
    assert (totals.checks.malformed_share, totals.checks.trap_share) == (1.0, None)


def test_a_round_from_before_prompts_were_checked_and_negatives_counted_is_taken_up() -> None:
    content = RoundTotals([], ["wood"], []).to_json()
    del content["checks"], content["negatives"]
    assert RoundTotals.from_json(content).checks == PromptCounts()
    assert RoundTotals.from_json(content).negatives == {}


def test_negatives_are_kept_in_mid_round_and_go_on_being_counted() -> None:
    totals = RoundTotals([], [], [])
    totals.negatives.update(["mask", "hard", "mask"])
    restored = RoundTotals.from_json(json.loads(json.dumps(totals.to_json())))
    restored.negatives.update(["hard"])
    assert restored.negatives == {"mask": 2, "hard": 2}
