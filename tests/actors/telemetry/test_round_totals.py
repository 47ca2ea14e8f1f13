from __future__ import annotations

import json

from actors.loop.state.rollout_intake import gate_counts
from actors.rollout.worker_replies import RenderReply
from actors.telemetry.round_totals import PromptCounts, RoundTotals
from caig_rl.runs.summary import CreativeCounts
from caig_rl.types import PromptCheck, RenderReport

CHANGED = RenderReport(usable=False, reason="product_changed", product_difference=7)
BLANK = RenderReport(usable=False, reason="blank")


def test_the_gates_refusals_are_counted_by_reason_with_the_largest_change_of_a_product() -> None:
    counts = gate_counts(RenderReply(((RenderReport(True), CHANGED), (BLANK, BLANK)), images=4, truncated=0))
    assert counts == CreativeCounts(painted=4, refused={"product_changed": 1, "blank": 2}, product_difference=7)


def test_shards_add_up_and_the_largest_change_stays() -> None:
    one = CreativeCounts(painted=4, refused={"blank": 1}, product_difference=7)
    other = CreativeCounts(painted=8, refused={"blank": 2, "product_extended": 1})
    assert one.plus(other) == CreativeCounts(painted=12, refused={"blank": 3, "product_extended": 1}, product_difference=7)


def test_a_checkpoint_in_mid_round_keeps_what_the_gate_said() -> None:
    notes = RoundTotals([0.5, float("nan")], ["wood"], [], pairs=1, truncated=2, creatives=CreativeCounts(painted=2, refused={"blank": 1}))
    restored = RoundTotals.from_json(json.loads(json.dumps(notes.to_json())))
    assert restored.creatives == notes.creatives
    assert (restored.pairs, restored.truncated, restored.prompts) == (1, 2, ["wood"])


def test_malformed_prompts_and_traps_are_counted_over_shards_and_kept_in_mid_round() -> None:
    notes = RoundTotals([], [], [])
    assert (notes.checks.malformed_share, notes.checks.trap_share) == (None, None)
    notes.count_checks([PromptCheck(True, False, ()), PromptCheck(False, True, ())])
    notes.count_checks([PromptCheck(False, False, ()), PromptCheck(False, False, ())])
    assert (notes.checks.malformed_share, notes.checks.trap_share) == (0.25, 0.25)
    assert RoundTotals.from_json(json.loads(json.dumps(notes.to_json()))).checks == notes.checks


def test_without_a_judge_who_knows_the_trap_its_share_is_not_known() -> None:
    notes = RoundTotals([], [], [])
    notes.count_checks([PromptCheck(True, None, ())])
    assert (notes.checks.malformed_share, notes.checks.trap_share) == (1.0, None)


def test_a_round_from_before_prompts_were_checked_is_taken_up() -> None:
    content = RoundTotals([], ["wood"], []).to_json()
    del content["checks"]
    assert RoundTotals.from_json(content).checks == PromptCounts()
