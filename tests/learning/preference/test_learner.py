"""The learner on the real DeepSpeed engine, one rank in this process (and two in processes of their own)."""

from __future__ import annotations

import math
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from caig_rl.config.schema import Config
from caig_rl.errors import CheckpointError
from caig_rl.learning.engine import free_port, init_group
from caig_rl.learning.preference.learner import PreferenceLearner
from caig_rl.models.logprobs import answer_log_probs
from caig_rl.models.policy import load_policy
from caig_rl.models.prompting import chat_prompt
from caig_rl.types import NegativeKind, RolloutGroup
from tests.learning.pairs import make_config, make_pairs, make_rollout, make_views
from tests.tiny import make_tiny_policy

PAIRS, VIEWS = make_pairs(6), make_views(6)
TOTAL_STEPS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("policy"))


def start(config: Config) -> PreferenceLearner:
    init_group(0, 1)
    return PreferenceLearner(config, 0, 1, TOTAL_STEPS)


def are_equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    ("zero_stage", "finetune"), [(0, "lora"), (1, "lora"), (2, "lora"), (3, "lora"), (0, "full"), (1, "full"), (3, "full")]
)
def test_rounds_lower_the_loss_and_move_the_weights(folder: Path, zero_stage: int, finetune: str) -> None:
    learner = start(make_config(folder, zero_stage=zero_stage, finetune=finetune, lr=3e-3))
    before = learner.export_weights()
    metrics = [learner.train_round(PAIRS, VIEWS) for _ in range(3)]
    assert [round_metrics.steps for round_metrics in metrics] == [2, 2, 2]
    assert metrics[-1].loss < metrics[0].loss
    assert all(math.isfinite(round_metrics.grad_norm) and round_metrics.grad_norm > 0.0 for round_metrics in metrics)
    assert not are_equal(before, learner.export_weights())


def test_zero_stage_and_precision_do_not_change_the_first_step(folder: Path) -> None:
    moved = []
    for zero_stage, dtype in [(0, "float32"), (1, "float32"), (2, "float32"), (0, "bfloat16"), (1, "bfloat16")]:
        learner = start(make_config(folder, zero_stage=zero_stage, dtype=dtype, lr_schedule="constant", batch_size=8))
        learner.train_round(PAIRS, VIEWS)
        state = learner.engine.module.state_dict()
        moved.append(sum(float(value.float().abs().sum()) for name, value in state.items() if "lora_B" in name))
    assert moved == pytest.approx([moved[0]] * len(moved), rel=0.02)


@pytest.mark.parametrize("zero_stage", [0, 1, 3])
def test_a_large_epsilon_makes_the_first_step_proportional_to_the_gradient(folder: Path, zero_stage: int) -> None:
    rate = {"adam_eps": 1e3, "lr": 2.0, "lr_schedule": "constant", "grad_clip": 1e6, "batch_size": 8}
    learner = start(make_config(folder, finetune="full", zero_stage=zero_stage, **rate))
    before = learner.export_weights()
    metrics = learner.train_round(PAIRS, VIEWS)
    after = learner.export_weights()
    moved = math.sqrt(sum(float((after[name] - before[name]).double().square().sum()) for name in before))
    assert metrics.steps == 1
    assert moved == pytest.approx(2.0 / 1e3 * metrics.grad_norm, rel=0.02)


def test_a_learning_rate_of_zero_leaves_every_weight_bit_identical(folder: Path) -> None:
    learner = start(make_config(folder, lr=0.0, weight_decay=0.1))
    before = learner.export_weights()
    learner.train_round(PAIRS, VIEWS)
    assert are_equal(before, learner.export_weights())


def test_the_first_loss_is_that_of_a_policy_that_is_its_reference(folder: Path) -> None:
    metrics = start(make_config(folder, pc_weight=0.5)).train_round(PAIRS[:4], VIEWS[:4])
    assert metrics.loss == pytest.approx(1.5 * math.log(2.0), abs=1e-6)
    assert metrics.dpo_loss == pytest.approx(math.log(2.0), abs=1e-6)


def test_gap_and_kl_are_those_of_the_log_probs_that_the_answers_were_sampled_with(folder: Path) -> None:
    learner = start(make_config(folder, batch_size=len(PAIRS)))
    gaps, kl = [], []
    for pair, view in zip(PAIRS, VIEWS, strict=True):
        for rollout in (pair.chosen, pair.rejected):
            # Before the first step, the policy is its reference.
            log_ratios = np.array(learner.token_log_probs(pair.instruction, view, rollout.token_ids)) - np.array(rollout.logprobs)
            gaps += np.abs(log_ratios).tolist()
            kl.append(float((np.exp(log_ratios) - 1.0 - log_ratios).sum()))
    metrics = learner.train_round(PAIRS, VIEWS)
    assert metrics.logprob_gap == pytest.approx(np.mean(gaps), abs=1e-4)
    assert metrics.kl == pytest.approx(np.mean(kl), rel=1e-4)


def test_the_gap_is_measured_before_the_policy_moves(folder: Path) -> None:
    first = start(make_config(folder, batch_size=2, lr=0.1)).train_round(PAIRS, VIEWS).logprob_gap
    assert first == pytest.approx(start(make_config(folder, batch_size=2, lr=0.1)).train_round(PAIRS[:2], VIEWS[:2]).logprob_gap, abs=1e-6)


@pytest.mark.parametrize(
    ("zero_stage", "finetune", "dtype"), [(0, "lora", "bfloat16"), (1, "lora", "float32"), (3, "lora", "float32"), (2, "full", "bfloat16")]
)
def test_a_restored_learner_goes_on_bit_identically(folder: Path, tmp_path: Path, zero_stage: int, finetune: str, dtype: str) -> None:
    config = make_config(folder, zero_stage=zero_stage, finetune=finetune, dtype=dtype)
    first = start(config)
    first.train_round(PAIRS, VIEWS)
    first.save(tmp_path)
    expected = first.train_round(PAIRS, VIEWS)
    second = start(config)
    second.load(tmp_path)
    metrics = second.train_round(PAIRS, VIEWS)
    assert (metrics.loss, metrics.kl, metrics.lr) == (expected.loss, expected.kl, expected.lr)
    assert are_equal(first.export_weights(), second.export_weights())


def test_a_checkpoint_that_is_missing_cut_short_or_of_another_shape_is_refused(folder: Path, tmp_path: Path) -> None:
    learner = start(make_config(folder))
    with pytest.raises(CheckpointError, match="no learner checkpoint"):
        learner.load(tmp_path)
    learner.save(tmp_path)
    with pytest.raises(CheckpointError, match="zero_stage"):
        start(make_config(folder, zero_stage=2)).load(tmp_path)
    for file in sorted((tmp_path / "learner").glob("*.pt")):
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(CheckpointError, match=r"cut short|incomplete"):
            learner.load(tmp_path)
        file.write_bytes(whole)
    learner.load(tmp_path)


def test_the_exported_folder_answers_like_the_learner(folder: Path, tmp_path: Path) -> None:
    learner = start(make_config(folder))
    learner.train_round(PAIRS, VIEWS)
    learner.export_folder(tmp_path / "export")
    model, processor = load_policy(tmp_path / "export")
    with torch.no_grad():
        exported = answer_log_probs(model, processor, [chat_prompt(processor, "mug")], [VIEWS[0]], [(50, 60, 70)])
    assert exported.tokens[0].tolist() == pytest.approx(learner.token_log_probs("mug", VIEWS[0], (50, 60, 70)), abs=1e-4)


def test_the_official_form_trains_with_the_other_products_winners(folder: Path) -> None:
    learner = start(make_config(folder, "pcpo_official"))
    rollouts = [make_rollout(500 + index, 4) if pair.negative_product_id else None for index, pair in enumerate(PAIRS)]
    assert learner.train_round(PAIRS, VIEWS, rollouts).product_centric_loss > 0.0
    with pytest.raises(ValueError, match="needs the winner"):
        learner.train_round(PAIRS, VIEWS)


def test_a_negative_with_another_products_picture_is_trained_on(folder: Path) -> None:
    groups = [replace(pair, negative=NegativeKind.OTHER_PICTURE, negative_product_id="other", negative_instruction="") for pair in PAIRS]
    config = make_config(folder, batch_size=len(PAIRS))
    same, other = (start(config).train_round(groups, VIEWS, None, views).grad_norm for views in (VIEWS, VIEWS[::-1]))
    # x~ = x: winner and negative are one sequence, whose gradients cancel out.
    assert same == pytest.approx(start(make_config(folder, "dpo", batch_size=len(PAIRS))).train_round(PAIRS, VIEWS).grad_norm, rel=1e-4)
    assert other != pytest.approx(same, rel=1e-3)


@pytest.mark.parametrize("zero_stage", [0, 3])
def test_the_product_centric_gradient_is_held_to_the_objectives_length(folder: Path, zero_stage: int) -> None:
    """One step of all groups. With gradients d of DPO and p of PCPO, the norm n(w) has n(w)^2 = d^2 + 2 w (d . p) + w^2 p^2."""
    settings = {"finetune": "full", "batch_size": 8, "zero_stage": zero_stage}

    def norm(**more: object) -> float:
        return start(make_config(folder, **settings, **more)).train_round(PAIRS, VIEWS).grad_norm

    dpo = start(make_config(folder, "dpo", **settings)).train_round(PAIRS, VIEWS).grad_norm
    weight, one, all_of_it = 50.0, norm(pc_weight=1.0), norm(pc_weight=50.0)
    pcpo = math.sqrt((all_of_it**2 - weight * one**2 + (weight - 1.0) * dpo**2) / (weight**2 - weight))
    held = start(make_config(folder, pc_weight=weight, pc_balance=True, **settings)).train_round(PAIRS, VIEWS)
    assert held.pc_weight == pytest.approx(dpo / pcpo, rel=1e-3) and held.pc_weight < weight
    assert held.grad_norm <= 2.0 * dpo < all_of_it


def test_a_term_that_is_short_enough_keeps_its_weight_and_the_step_is_the_papers(folder: Path) -> None:
    paper, held = (start(make_config(folder, pc_weight=1e-3, pc_balance=balance)) for balance in (False, True))
    assert paper.train_round(PAIRS, VIEWS).pc_weight == held.train_round(PAIRS, VIEWS).pc_weight == 1e-3
    assert are_equal(paper.export_weights(), held.export_weights())


def test_an_objective_without_negatives_says_nothing_of_their_weight(folder: Path) -> None:
    assert start(make_config(folder, "dpo", pc_balance=True)).train_round(PAIRS, VIEWS).pc_weight is None


def test_views_that_do_not_match_the_pairs_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="5 views for 6 groups"):
        start(make_config(folder)).train_round(PAIRS, VIEWS[:5])


def train_as_rank(rank: int, port: int, config: Config, result: Path) -> None:
    torch.set_num_threads(1)
    init_group(rank, 2, "127.0.0.1", port)
    learner = PreferenceLearner(config, rank, 2, TOTAL_STEPS)
    metrics = learner.train_round(PAIRS[:5], VIEWS[:5])
    weights = learner.export_weights()
    if rank == 0:
        torch.save({"weights": weights, "loss": metrics.loss, "kl": metrics.kl, "norm": metrics.grad_norm}, result)


def test_two_ranks_take_the_same_steps_as_one(folder: Path, tmp_path: Path) -> None:
    config = make_config(folder, world_size=2, zero_stage=2)
    context, port = multiprocessing.get_context("spawn"), free_port()
    ranks = [context.Process(target=train_as_rank, args=(rank, port, config, tmp_path / "result.pt")) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=240)
    assert [process.exitcode for process in ranks] == [0, 0]
    both = torch.load(tmp_path / "result.pt")
    learner = start(make_config(folder, zero_stage=2))
    alone = learner.train_round(PAIRS[:5], VIEWS[:5])
    assert (both["loss"], both["norm"]) == pytest.approx((alone.loss, alone.grad_norm), rel=1e-4)
    weights = learner.export_weights()
    assert all(torch.allclose(both["weights"][name], weights[name], atol=2e-4) for name in weights)


@pytest.mark.parametrize(("zero_stage", "finetune"), [(1, "lora"), (1, "full"), (3, "full")])
def test_the_reference_finds_answers_as_likely_as_the_initial_policy_did_also_after_training(
    folder: Path, zero_stage: int, finetune: str
) -> None:
    learner = start(make_config(folder, zero_stage=zero_stage, finetune=finetune, lr=3e-3))
    groups = [RolloutGroup(pair.admission, pair.version, pair.instruction, pair.candidates) for pair in PAIRS[:3]]
    before = learner.initial_log_probs(groups, VIEWS[:3])
    model, processor = load_policy(folder)
    with torch.no_grad():
        for group, view, row in zip(groups, VIEWS, before, strict=False):
            for rollout, tokens in zip(group.rollouts, row, strict=True):
                found = answer_log_probs(model, processor, [chat_prompt(processor, group.instruction)], [view], [rollout.token_ids])
                assert tokens == pytest.approx(found.tokens[0].tolist(), abs=1e-4)
    learner.train_round(PAIRS, VIEWS)
    assert learner.initial_log_probs(groups, VIEWS[:3]) == before
    moved = learner.token_log_probs(groups[0].instruction, VIEWS[0], groups[0].rollouts[0].token_ids)
    assert moved != pytest.approx(before[0][0], abs=1e-4)
