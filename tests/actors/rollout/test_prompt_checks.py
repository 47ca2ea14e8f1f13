"""Prompts of a shard, checked by whoever knows best. The task's own function, without a cluster."""

from __future__ import annotations

from actors.rollout.rolled_out import RolledOut
from actors.rollout.short_tasks import check_prompts
from actors.rollout.worker_replies import PolicyReply, RenderReply, ScoreReply
from caig_rl.interfaces import Judge
from caig_rl.types import Admission, PolicyVersion, Product, PromptCheck, Rollout, RolloutGroup
from caig_rl.world.judge import WorldJudge
from tests.actors.fakes import BrightnessJudge

PRODUCTS = [Product(name, name, "mug") for name in ("a", "b", "c")]
PROMPTS = [["on oak table, neon city behind, no props, soft light, warm tones", "a wall of"], [], ["a wall of stone"]]


def checked(judge: Judge | None) -> list[list[PromptCheck]]:
    return check_prompts._function(judge, PRODUCTS, PROMPTS)


def test_a_judge_that_reads_prompts_checks_them_each_in_its_place() -> None:
    assert [[(one.malformed, one.trap) for one in row] for row in checked(WorldJudge(0))] == [
        [(False, True), (True, False)],
        [],
        [(True, False)],
    ]


def test_prompts_of_any_other_judge_or_of_none_are_checked_as_plain_language() -> None:
    for judge in (BrightnessJudge(), None):
        assert [[(one.malformed, one.trap) for one in row] for row in checked(judge)] == [
            [(False, None), (True, None)],
            [],
            [(False, None)],
        ]


def test_prompts_that_were_not_painted_were_written_all_the_same() -> None:
    def reply(*texts: str) -> PolicyReply:
        group = RolloutGroup(Admission(0, 0, "a", 1), PolicyVersion(0, 0), "write", tuple(Rollout(text, (1,), (-1.0,)) for text in texts))
        return PolicyReply((group, None), {1: "no title"}, PolicyVersion(0, 0), 3)

    def rolled(unscreened: PolicyReply | None) -> RolledOut:
        return RolledOut(None, reply("b"), RenderReply((), 0, 0), ScoreReply(()), None, None, 1, "", unscreened)  # type: ignore[arg-type]

    assert rolled(reply("a", "b", "c")).written() == [["a", "b", "c"], []]
    assert rolled(None).written() == [["b"], []]
