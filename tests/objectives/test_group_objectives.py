"""Group objectives: known answers, and masks that are exact in value and in gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from caig_rl.objectives.anchors import likelihood_anchor, reference_divergence
from caig_rl.objectives.best_worst import best_product_centric_loss, best_worst_dpo_loss
from caig_rl.objectives.cdpo import soft_label_dpo_loss
from caig_rl.objectives.groups import ScoredGroups
from caig_rl.objectives.ipo import ipo_loss
from caig_rl.objectives.listwise import listwise_loss, listwise_weights
from caig_rl.objectives.policy_gradient import DUAL_CLIP, clipped_policy_gradient_loss, leave_one_out_advantages
from caig_rl.objectives.rebel import rebel_loss
from caig_rl.objectives.sft import winner_likelihood_loss

Objective = Callable[[ScoredGroups], torch.Tensor]
CONTRASTIVE: dict[str, Objective] = {
    "best_worst": partial(best_worst_dpo_loss, beta=0.5),
    "cdpo": partial(soft_label_dpo_loss, beta=0.5, sharpness=3.0),
    "rebel": partial(rebel_loss, beta=0.5, sharpness=3.0),
    "ipo": partial(ipo_loss, beta=0.5),
    "policy_gradient": partial(clipped_policy_gradient_loss, clip_low=0.2, clip_high=0.28, sharpness=3.0),
}
OTHERS: dict[str, Objective] = {
    "listwise": partial(listwise_loss, sharpness=14.0),
    "sft": winner_likelihood_loss,
    "best_product_centric": partial(best_product_centric_loss, beta=0.5),
    "likelihood_anchor": likelihood_anchor,
    "reference_divergence": reference_divergence,
}
ALL = CONTRASTIVE | OTHERS
LOG_PROBS = [[-12.0, -13.0, -9.0, -11.0], [-20.0, -18.5, -22.0, -19.0]]
REFERENCE = [[-12.5, -12.0, -9.5, -11.0], [-19.0, -19.0, -21.0, -19.5]]
BEHAVIOUR = [[-12.1, -12.9, -9.05, -11.0], [-20.1, -18.4, -22.0, -19.0]]
REWARDS = [[0.1, -0.2, 0.4, 0.0], [-0.3, 0.2, 0.05, 0.1]]


def double(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def groups(usable: list[list[bool]] | None = None, log_probs: torch.Tensor | None = None, **changes: torch.Tensor) -> ScoredGroups:
    values = {
        "log_probs": double(LOG_PROBS) if log_probs is None else log_probs,
        "reference": double(REFERENCE),
        "behaviour": double(BEHAVIOUR),
        "rewards": double(REWARDS),
        "usable": torch.tensor(usable or [[True] * 4] * 2),
        "num_tokens": torch.tensor([[10, 12, 8, 10]] * 2),
        "negative_log_probs": double([-9.5, -19.0]),
        "negative_reference": double([-9.0, -18.0]),
    }
    return ScoredGroups(**(values | changes))


def sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))


@pytest.mark.parametrize("name", ALL)
def test_a_candidate_that_is_not_usable_has_no_influence_on_loss_or_gradient(name: str) -> None:
    usable = [[True, False, True, True], [True, True, True, False]]
    log_probs = double(LOG_PROBS).requires_grad_()
    clean = ALL[name](groups(usable, log_probs))
    clean.sum().backward()
    poison = torch.tensor(usable).logical_not()
    wild = double(LOG_PROBS).masked_fill(poison, math.nan).requires_grad_()
    poisoned = {key: double(value).masked_fill(poison, math.nan) for key, value in (("reference", REFERENCE), ("behaviour", BEHAVIOUR))}
    dirty = ALL[name](groups(usable, wild, rewards=double(REWARDS).masked_fill(poison, math.inf), **poisoned))
    dirty.sum().backward()
    assert torch.equal(clean, dirty)
    assert torch.equal(log_probs.grad, wild.grad)
    assert torch.equal(log_probs.grad[poison], torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("name", ALL)
def test_a_masked_group_is_the_smaller_group(name: str) -> None:
    masked = ALL[name](groups([[True, False, True, True], [True, False, True, True]]))
    kept = [0, 2, 3]
    full = groups()
    small = replace(
        full,
        **{key: getattr(full, key)[:, kept] for key in ("log_probs", "reference", "behaviour", "rewards", "usable", "num_tokens")},
    )
    assert torch.allclose(masked, ALL[name](small), atol=1e-12)


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_one_usable_candidate_is_no_contrast(name: str) -> None:
    log_probs = double(LOG_PROBS).requires_grad_()
    losses = CONTRASTIVE[name](groups([[False, True, False, False], [True] * 4], log_probs))
    losses.sum().backward()
    assert losses[0].item() == 0.0
    assert torch.equal(log_probs.grad[0], torch.zeros(4, dtype=torch.float64))
    assert log_probs.grad[1].abs().sum().item() > 0.0


@pytest.mark.parametrize("name", ALL)
def test_a_group_without_a_usable_candidate_loses_nothing(name: str) -> None:
    log_probs = double(LOG_PROBS).requires_grad_()
    negatives = {"negative_log_probs": double([math.nan, -19.0]), "negative_reference": double([math.nan, -18.0])}
    losses = ALL[name](groups([[False] * 4, [True] * 4], log_probs, **negatives))
    losses.sum().backward()
    assert losses[0].item() == 0.0
    assert torch.isfinite(losses).all()
    assert torch.equal(log_probs.grad[0], torch.zeros(4, dtype=torch.float64))
    assert torch.isfinite(log_probs.grad).all()


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.integers(1, 6))
def test_the_order_of_candidates_does_not_matter(name: str, seed: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: torch.randn(3, size, generator=generator, dtype=torch.float64)  # noqa: E731
    log_probs, reference, behaviour, rewards = draw() - 9.0, draw() - 9.0, draw() - 9.0, draw()
    usable = torch.rand(3, size, generator=generator) < 0.7
    tokens = torch.full((3, size), 7)
    order = torch.randperm(size, generator=generator)
    negatives = (double([-9.0] * 3), double([-8.0] * 3))
    tensors = (log_probs, reference, behaviour, rewards, usable, tokens)
    straight = ScoredGroups(*tensors, *negatives)
    turned = ScoredGroups(*(tensor[:, order] for tensor in tensors), *negatives)
    assert torch.allclose(ALL[name](straight), ALL[name](turned), atol=1e-10)


@pytest.mark.parametrize("name", ALL)
def test_float32_rewards_and_ratios_far_out_stay_finite(name: str) -> None:
    far = torch.tensor([[-1.0, -2000.0, -5.0, -700.0]] * 2, requires_grad=True)
    single = {"reference": torch.full((2, 4), -40.0), "behaviour": torch.full((2, 4), -300.0), "rewards": torch.tensor(REWARDS) * 50}
    negatives = {"negative_log_probs": torch.tensor([-900.0, -1.0]), "negative_reference": torch.tensor([-1.0, -900.0])}
    losses = ALL[name](groups(None, far, **single, **negatives))
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert torch.isfinite(far.grad).all()


def test_listwise_loss_is_the_formula_written_by_hand() -> None:
    weights = [math.exp(14.0 * reward) for reward in REWARDS[0]]
    expected = -sum(weight * value for weight, value in zip(weights, LOG_PROBS[0], strict=True)) / sum(weights)
    assert listwise_loss(groups(), 14.0)[0].item() == pytest.approx(expected, abs=1e-12)


def test_listwise_weights_add_up_to_one_over_usable_candidates() -> None:
    weights = listwise_weights(groups([[True, False, False, True], [False] * 4]), 14.0)
    assert weights.sum(dim=1).tolist() == pytest.approx([1.0, 0.0])
    assert weights[0, 0].item() / weights[0, 3].item() == pytest.approx(math.exp(1.4))


def test_listwise_without_sharpness_imitates_all_alike() -> None:
    assert listwise_loss(groups(), 0.0)[0].item() == pytest.approx(-sum(LOG_PROBS[0]) / 4)


def test_soft_label_dpo_is_the_formula_written_by_hand() -> None:
    total = 0.0
    ratios = [value - ref for value, ref in zip(LOG_PROBS[0], REFERENCE[0], strict=True)]
    for i in range(4):
        for j in range(i + 1, 4):
            label, scaled = sigmoid(3.0 * (REWARDS[0][i] - REWARDS[0][j])), 0.5 * (ratios[i] - ratios[j])
            total -= label * math.log(sigmoid(scaled)) + (1.0 - label) * math.log(sigmoid(-scaled))
    assert soft_label_dpo_loss(groups(), 0.5, 3.0)[0].item() == pytest.approx(total / 6, abs=1e-12)


def test_soft_labels_of_great_sharpness_are_the_hard_pair_of_dpo() -> None:
    pair = groups([[True, True, False, False]] * 2)
    assert soft_label_dpo_loss(pair, 0.5, 1e4).tolist() == pytest.approx(best_worst_dpo_loss(pair, 0.5).tolist(), abs=1e-9)


def test_rebel_is_the_formula_written_by_hand_and_zero_where_ratios_match_the_rewards() -> None:
    ratios = [value - ref for value, ref in zip(LOG_PROBS[0], REFERENCE[0], strict=True)]
    errors = [(0.5 * (ratios[i] - ratios[j]) - 3.0 * (REWARDS[0][i] - REWARDS[0][j])) ** 2 for i in range(4) for j in range(i + 1, 4)]
    assert rebel_loss(groups(), 0.5, 3.0)[0].item() == pytest.approx(sum(errors) / 6, abs=1e-12)
    solved = groups(log_probs=double(REFERENCE) + 6.0 * double(REWARDS))
    assert rebel_loss(solved, 0.5, 3.0).tolist() == pytest.approx([0.0, 0.0], abs=1e-12)


def test_ipo_is_zero_at_the_margin_it_seeks_and_leaves_ties_alone() -> None:
    usable = [[True, True, False, False]] * 2
    reached = double(REFERENCE)
    reached[:, 0] += 1.0
    rewards = double([[0.3, 0.1, 0.0, 0.0], [0.2, 0.2, 0.0, 0.0]])
    assert ipo_loss(groups(usable, reached, rewards=rewards), 0.5).tolist() == pytest.approx([0.0, 0.0], abs=1e-12)
    assert ipo_loss(groups(usable, double(REFERENCE), rewards=rewards), 0.5).tolist() == pytest.approx([1.0, 0.0], abs=1e-12)


def test_ipo_refuses_a_temperature_of_zero() -> None:
    with pytest.raises(ValueError, match="beta must be above 0"):
        ipo_loss(groups(), 0.0)


def test_advantages_are_against_the_mean_of_the_others_and_add_up_to_zero() -> None:
    advantages = leave_one_out_advantages(groups([[True, True, True, False], [True, False, False, False]]))
    assert advantages[0].tolist() == pytest.approx([0.0, -0.45, 0.45, 0.0])
    assert advantages[1].tolist() == [0.0] * 4
    assert leave_one_out_advantages(groups()).sum(dim=1).tolist() == pytest.approx([0.0, 0.0], abs=1e-12)


def test_the_policy_gradient_on_its_own_samples_is_reinforce() -> None:
    log_probs = double(BEHAVIOUR).requires_grad_()
    clipped_policy_gradient_loss(groups(None, log_probs), 0.2, 0.28, 3.0).sum().backward()
    assert torch.allclose(log_probs.grad, -3.0 * leave_one_out_advantages(groups()) / 4, atol=1e-12)


def test_the_clip_stops_good_answers_above_and_bad_answers_below_and_far_above() -> None:
    rewards, behaviour = double([[1.0, -1.0]]), double([[-10.0, -10.0]])

    def gradient(first: float, second: float) -> list[float]:
        log_probs = double([[first, second]]).requires_grad_()
        values = ScoredGroups(log_probs, behaviour, behaviour, rewards, torch.ones(1, 2, dtype=torch.bool), torch.ones(1, 2))
        clipped_policy_gradient_loss(values, 0.2, 0.28, 1.0).sum().backward()
        return log_probs.grad[0].tolist()

    assert gradient(-10.0 + math.log(1.3), -10.0 + math.log(0.7)) == [0.0, 0.0]
    assert gradient(-10.0 + math.log(1.2), -10.0 + math.log(1.2)) == pytest.approx([-1.2, 1.2])
    assert gradient(-10.0, -10.0 + math.log(DUAL_CLIP + 0.1)) == pytest.approx([-1.0, 0.0])


def test_sft_reads_the_best_usable_answer() -> None:
    assert winner_likelihood_loss(groups()).tolist() == [9.0, 18.5]
    assert winner_likelihood_loss(groups([[True, True, False, True], [True] * 4])).tolist() == [12.0, 18.5]


def test_best_against_worst_is_dpo_of_the_pair() -> None:
    expected = -math.log(sigmoid(0.5 * ((-9.0 + 9.5) - (-13.0 + 12.0))))
    assert best_worst_dpo_loss(groups(), 0.5)[0].item() == pytest.approx(expected, abs=1e-12)


def test_equal_rewards_are_no_preference() -> None:
    tied = groups(rewards=torch.zeros(2, 4, dtype=torch.float64))
    assert best_worst_dpo_loss(tied, 0.5).tolist() == [0.0, 0.0]


def test_the_product_centric_term_contrasts_the_best_answer_with_itself_elsewhere() -> None:
    expected = -math.log(sigmoid(0.5 * ((-9.0 + 9.5) - (-9.5 + 9.0))))
    assert best_product_centric_loss(groups(), 0.5)[0].item() == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match="replaced product information"):
        best_product_centric_loss(replace(groups(), negative_log_probs=None, negative_reference=None), 0.5)


def test_anchors_are_the_formulas_written_by_hand() -> None:
    assert likelihood_anchor(groups()).tolist() == pytest.approx([9.0 / 8, 18.5 / 12])
    squares = [(value - ref) ** 2 / 2 for value, ref in zip(LOG_PROBS[0], REFERENCE[0], strict=True)]
    assert reference_divergence(groups())[0].item() == pytest.approx(sum(squares) / 4)


def test_the_divergence_s_gradient_is_that_of_the_kl() -> None:
    """Over all answers of a small policy, each as often as the policy says it."""
    logits, reference = double([0.3, -0.2, 1.0]).requires_grad_(), double([0.1, 0.4, -0.3]).log_softmax(0)
    policy = logits.log_softmax(0)
    (kl,) = torch.autograd.grad((policy.exp() * (policy - reference)).sum(), logits, retain_graph=True)
    one = torch.ones(3, 1)
    values = ScoredGroups(policy[:, None], reference[:, None], reference[:, None], one.double(), one.bool(), one)
    (ours,) = torch.autograd.grad((policy.detach().exp() * reference_divergence(values)).sum(), logits)
    assert torch.allclose(kl, ours, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": torch.zeros(2, 3)}, "rewards has shape"),
        ({"usable": torch.ones(2, 4)}, "usable must be bool"),
        ({"negative_reference": torch.zeros(3)}, "negative_reference has shape"),
        ({"negative_reference": None}, "come together"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(changes: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(groups(), **changes)
