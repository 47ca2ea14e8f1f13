"""The prompt model beside the learner, on a shop whose tastes are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from actors.loop.learning.prompt_learning import PromptLearning
from actors.rollout.shard import make_shards
from actors.rollout.worker_replies import PolicyReply
from caig_rl.config.load import load_config
from caig_rl.types import Admission, NegativeKind, PolicyVersion, PreferenceGroup, Rollout, RolloutGroup
from tests.prompt_model.shops import KINDS, SURFACES, TRAP, catalog, prompt, scored_round, taste

PRODUCTS = catalog()
WRITTEN = 12


def _learning(*settings: str) -> tuple[PromptLearning, list[str]]:
    notes: list[str] = []
    return PromptLearning(load_config(None, ["rollout.written=12", *settings]), PRODUCTS, notes.append), notes


def _groups(number: int) -> list[PreferenceGroup]:
    groups = []
    for index, scored in enumerate(scored_round(PRODUCTS, np.random.default_rng(number))):
        candidates = tuple(Rollout(text, (1, 2), (-0.5, -0.5)) for text in scored.texts)
        admission = Admission(number * len(PRODUCTS) + index, number, scored.product.product_id, 7)
        groups.append(
            PreferenceGroup(admission, PolicyVersion(0, number), "write", candidates, scored.rewards, NegativeKind.MASKED_IMAGE, 1)
        )
    return groups


def _reply(version: int) -> tuple[PolicyReply, Sequence[str]]:
    rng = np.random.default_rng(99)
    shard = make_shards(PRODUCTS, list(range(len(PRODUCTS))), 0, 0, shard_size=len(PRODUCTS))[0]
    groups = [
        RolloutGroup(admission, PolicyVersion(0, version), "write", tuple(Rollout(prompt(rng), (1,), (-1.0,)) for _ in range(WRITTEN)))
        for admission in shard.admissions
    ]
    return PolicyReply(tuple(groups), {}, PolicyVersion(0, version), 9), [product.title for product in shard.products]


def _worth(reply: PolicyReply) -> float:
    values = [
        taste(product, rollout.text)
        for product, group in zip(PRODUCTS, reply.groups, strict=True)
        if group is not None
        for rollout in group.rollouts
    ]
    return float(np.mean(values))


def _screened(learning: PromptLearning, version: int) -> PolicyReply:
    shard = make_shards(PRODUCTS, list(range(len(PRODUCTS))), 0, 0, shard_size=len(PRODUCTS))[0]
    return learning.screened(shard, _reply(version)[0])


def test_before_the_first_round_the_first_prompts_are_painted() -> None:
    learning, _ = _learning()
    screened = _screened(learning, 0)
    assert [len(group.rollouts) for group in screened.groups if group is not None] == [4] * len(PRODUCTS)


def test_screening_gets_better_with_what_was_painted_and_avoids_what_any_product_likes() -> None:
    learning, _ = _learning("prompt_model.screening=best")
    before = _screened(learning, 0)
    for number in range(3):
        learning.learn(number, _groups(number))
    after = _screened(learning, 3)
    assert _worth(after) > _worth(before) + 0.1

    def traps(reply: PolicyReply) -> int:
        return sum(TRAP in rollout.text for group in reply.groups if group is not None for rollout in group.rollouts)

    assert traps(after) < traps(before)


def test_prompts_are_screened_by_the_model_of_the_version_that_wrote_them() -> None:
    learning, _ = _learning("prompt_model.screening=best")
    learning.learn(0, _groups(0))
    first = _screened(learning, 1)
    learning.learn(1, _groups(1))
    assert _screened(learning, 1) == first


def test_learning_a_round_again_tells_the_model_nothing_new() -> None:
    learning, _ = _learning()
    once = learning.learn(0, _groups(0))
    told = learning.metrics()["creatives"]
    assert learning.learn(0, _groups(0)) == once and learning.metrics()["creatives"] == told


def test_a_model_that_was_told_the_journal_again_is_the_same_one() -> None:
    learning, _ = _learning()
    for number in range(2):
        learning.learn(number, _groups(number))
    again, _ = _learning()
    again.restore([(number, _groups(number)) for number in range(2)], 2)
    assert again.learn(2, _groups(2)) == learning.learn(2, _groups(2))
    assert _screened(again, 2) == _screened(learning, 2)


def test_shaped_rewards_take_off_what_a_prompt_is_worth_to_any_product() -> None:
    learning, _ = _learning()
    for number in range(3):
        shaped = learning.learn(number, _groups(number))
    traps = [group.rewards[k] for group in shaped for k, one in enumerate(group.candidates) if TRAP in one.text]
    own = [group.scores[k] - np.mean(group.scores) for group in shaped for k, one in enumerate(group.candidates) if TRAP in one.text]
    assert np.mean(traps) < np.mean(own) - 0.1
    assert all(math.isclose(sum(group.shaped), 0.0, abs_tol=1e-9) for group in shaped)


def test_an_objective_on_clicks_alone_uses_no_model() -> None:
    learning, _ = _learning("objective=dpo")
    groups = _groups(0)
    assert not learning.is_used and learning.learn(0, groups) == groups and learning.metrics() == {}


def test_a_model_that_predicts_nothing_is_not_used_and_the_run_says_so_once() -> None:
    learning, notes = _learning("prompt_model.min_correlation=0.99")
    for number in range(2):
        shaped = learning.learn(number, _groups(number))
    group = _groups(1)[0]
    assert shaped[0].shaped == tuple(score - float(np.mean(group.scores)) for score in group.scores)
    assert len(notes) == 1 and "the prompt model is not used after round 1: held-out correlation" in notes[0]


def test_the_journal_tells_the_model_which_segment_each_group_was_for() -> None:
    """Teens alone like the trap: without the segment of the group's admission nobody could tell."""
    shares = {"teens": 0.5, "adults": 0.5}
    learning = PromptLearning(load_config(None, []), PRODUCTS, lambda note: None, shares)
    rounds = []
    for number in range(4):
        groups = []
        for index, group in enumerate(_groups(number)):
            segment = "teens" if (index // len(KINDS)) % 2 else "adults"
            liked = [0.8 * (TRAP in one.text) * (1 if segment == "teens" else -1) for one in group.candidates]
            groups.append(replace(group, admission=replace(group.admission, segment=segment), scores=tuple(liked)))
        rounds.append((number, groups))
    learning.restore(rounds, 4)
    texts = [f"on {SURFACES[0]}, {wall} behind" for wall in ("blue sky", TRAP)]
    teens, adults = (learning._model.effects().value(PRODUCTS[0].shown_to(name), texts) for name in shares)
    assert teens[1] - teens[0] > 0.4 > -0.4 > adults[1] - adults[0]
