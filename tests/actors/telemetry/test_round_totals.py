from __future__ import annotations

import json

from actors.loop.state.rollout_intake import gate_counts
from actors.rollout.worker_replies import RenderReply
from actors.telemetry.round_totals import RoundTotals
from caig_rl.runs.summary import CreativeCounts
from caig_rl.types import RenderReport

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
