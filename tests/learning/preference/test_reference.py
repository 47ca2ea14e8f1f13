"""A reference that moves: when, to what, what stays with the initial policy, and that checkpoints keep it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from caig_rl.errors import CheckpointError
from caig_rl.learning.engine import init_group
from caig_rl.learning.engine_checkpoint import SHAPE_FILE
from caig_rl.learning.preference.kl_control import adapted_kl_weight
from caig_rl.learning.preference.learner import PreferenceLearner
from caig_rl.learning.preference.reference import REFERENCE_FILE
from caig_rl.learning.preference.round_metrics import RoundMetrics
from caig_rl.learning.preference.sequences import group_batch
from caig_rl.learning.regroup import load_at_any_size
from caig_rl.models.logprobs import batch_log_probs
from tests.learning.pairs import make_config, make_pairs, make_views
from tests.tiny import make_tiny_policy

PAIRS, VIEWS = make_pairs(4), make_views(4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("policy"))


def start(folder: Path, every: int | None = 2, **settings: object) -> PreferenceLearner:
    init_group(0, 1)
    return PreferenceLearner(make_config(folder, finetune="full", lr=3e-3, reference_every=every, **settings), 0, 1, 8)


def taught(learner: PreferenceLearner, rounds: Sequence[int]) -> list[RoundMetrics]:
    """The same groups as those of each round."""
    of_rounds = [[replace(pair, admission=replace(pair.admission, round=number)) for pair in PAIRS] for number in rounds]
    return [learner.train_round(groups, VIEWS) for groups in of_rounds]


def is_the_policy(learner: PreferenceLearner) -> bool:
    """Whether reference and policy find every answer equally likely."""
    batch = group_batch(learner.config, learner.processor, PAIRS, VIEWS, None).answers
    moved = learner.reference.moved_log_probs(batch)
    with torch.no_grad():
        return moved is not None and torch.equal(moved.tokens, batch_log_probs(learner.engine.module, batch).tokens)


def are_equal(left: PreferenceLearner, right: PreferenceLearner) -> bool:
    ours, theirs = left.export_weights(), right.export_weights()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_it_moves_to_the_policy_of_every_nth_round_and_kl_and_fluency_stay_with_the_initial_policy(folder: Path) -> None:
    moving, fixed = start(folder, fluency_floor=-6.0), start(folder, None, fluency_floor=-6.0)
    first, followed = taught(moving, range(2)), taught(fixed, range(2))
    assert [one.reference_kl for one in first] == [None, None]
    assert [one.loss for one in first] == [one.loss for one in followed]
    moving.reference.follow(moving.engine.module, 2)
    assert moving.reference.moved_at == 2 and is_the_policy(moving)
    (third,), (unmoved,) = taught(moving, [2]), taught(fixed, [2])
    assert not is_the_policy(moving), "it is a copy"
    assert third.loss != unmoved.loss
    assert (third.kl, third.fluent) == (unmoved.kl, unmoved.fluent) == (first[0].kl, first[0].fluent)
    assert third.reference_kl is not None and third.reference_kl != third.kl


def test_the_bound_of_the_divergence_goes_by_the_reference_that_it_pulls_to(folder: Path) -> None:
    probe = taught(start(folder, kl_bound=None), range(3))[-1]
    assert probe.reference_kl is not None
    bound = 0.5 * (probe.kl + probe.reference_kl)
    learner = start(folder, kl_bound=None)
    taught(learner, range(2))
    learner.config = make_config(folder, finetune="full", lr=3e-3, reference_every=2, kl_bound=bound)
    learner.kl_weight = 1.0
    (metrics,) = taught(learner, [2])
    assert metrics.reference_kl == probe.reference_kl
    assert learner.kl_weight == adapted_kl_weight(1.0, probe.reference_kl, bound) != adapted_kl_weight(1.0, probe.kl, bound)


def test_a_round_that_had_nothing_to_teach_delays_the_move_and_does_not_cost_it(folder: Path) -> None:
    reference, module = (learner := start(folder, 3)).reference, learner.engine.module
    moved = [reference.follow(module, number) or reference.moved_at for number in (0, 2, 4, 5, 7, 7)]
    assert moved == [0, 0, 3, 3, 6, 6]


@pytest.mark.parametrize(("zero_stage", "dtype"), [(0, "float32"), (1, "bfloat16"), (3, "float32")])
def test_a_restored_learner_goes_on_bit_identically_after_a_move_and_before_one(
    folder: Path, tmp_path: Path, zero_stage: int, dtype: str
) -> None:
    settings = {"zero_stage": zero_stage, "dtype": dtype}
    learner = start(folder, **settings)
    taught(learner, range(2))
    learner.save(tmp_path / "before")
    taught(learner, [2])
    learner.save(tmp_path / "after")
    expected = taught(learner, [3])[0]
    assert not (tmp_path / "before" / REFERENCE_FILE).exists()
    for checkpoint, rounds in (("after", [3]), ("before", [2, 3])):
        again = start(folder, **settings)
        again.load(tmp_path / checkpoint)
        metrics = taught(again, rounds)[-1]
        assert (metrics.loss, metrics.kl, metrics.reference_kl) == (expected.loss, expected.kl, expected.reference_kl)
        assert are_equal(again, learner) and again.reference.moved_at == 2


def test_a_checkpoint_from_before_the_move_brings_the_initial_policy_back_as_reference(folder: Path, tmp_path: Path) -> None:
    learner = start(folder)
    learner.save(tmp_path)
    first = taught(learner, [0, 1, 2])[0]
    learner.load(tmp_path)
    again = taught(learner, [0])[0]
    assert (again.loss, again.reference_kl) == (first.loss, None)


def test_a_reference_that_moved_stays_where_the_key_is_taken_out_and_other_sizes_of_the_group_find_it(folder: Path, tmp_path: Path) -> None:
    learner = start(folder, zero_stage=0)
    taught(learner, range(3))
    learner.save(tmp_path)
    expected = taught(learner, [4])[0]
    shape = json.loads((tmp_path / SHAPE_FILE).read_text())
    (tmp_path / SHAPE_FILE).write_text(json.dumps(shape | {"world_size": 2}))
    (staging := tmp_path / "staging").mkdir()
    again = start(folder, None, zero_stage=0)
    load_at_any_size(again, tmp_path, staging)
    stays = taught(again, [3])[0]
    assert again.reference.moved_at == 2 and stays.reference_kl is not None
    assert stays.loss != expected.loss, "with the key, round 4 moves it on"


def test_a_reference_that_is_missing_or_cut_short_is_refused(folder: Path, tmp_path: Path) -> None:
    learner = start(folder, 1)
    taught(learner, [1])
    learner.save(tmp_path)
    file = tmp_path / REFERENCE_FILE
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=rf"{REFERENCE_FILE}: the reference's weights cannot be read"):
        learner.load(tmp_path)
    file.unlink()
    with pytest.raises(CheckpointError, match=rf"{REFERENCE_FILE}: the reference's weights cannot be read"):
        learner.load(tmp_path)
