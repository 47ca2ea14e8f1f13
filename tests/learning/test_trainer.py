"""One rank of a reward job, without a cluster: every form learns, goes on from a checkpoint, and is written as a plain folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from caig_rl.config.reward import ClicksConfig, RewardTrainConfig
from caig_rl.errors import CheckpointError
from caig_rl.learning.engine import gathered_copy, init_group
from caig_rl.learning.reward.task import RewardTask
from caig_rl.learning.trainer import Trainer, check_trained
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward.loading import load_reward
from caig_rl.models.reward.scorer import RewardScorer
from caig_rl.types import Product
from tests.learning.logged import make_facts, make_groups, make_rows
from tests.tiny import make_tiny_policy

SIZES = {"scorer": 64, "side_by_side": 32, "vam": 32, "cg4ctr": 32}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    init_group(0, 1)
    return make_tiny_policy(tmp_path_factory.mktemp("backbone"))


def make_trainer(backbone: Path, form: str, **settings: Any) -> Trainer:
    config = RewardTrainConfig(form=form, image_size=SIZES[form], **{"epochs": 6, "batch_size": 8, "lr": 2e-3, "zero_stage": 1} | settings)
    task = RewardTask(config, ClicksConfig(), make_facts(), backbone, seed=0)
    return Trainer(task, config, rank=0, total_steps=6 * 6, seed=0)


def train(trainer: Trainer, epochs: int, size: int) -> None:
    for _ in range(epochs):
        trainer.train_epoch(make_groups(size, range(48)))
        trainer.validate(make_groups(size, range(48, 70)))


def prefers_bright(folder: Path) -> bool:
    model = load_reward(resolve_model_folder(str(folder), "reward"))
    dark, bright = (np.full((64, 64, 3), value, np.uint8) for value in (40, 220))
    return bool(model.compare([Product("p", "mug 3", "kitchen")], [bright], [dark])[0] > 0.0)


@pytest.mark.parametrize("form", SIZES)
def test_every_form_learns_the_order_of_held_out_pairs(backbone: Path, form: str, tmp_path: Path):
    trainer = make_trainer(backbone, form)
    train(trainer, 6, SIZES[form])
    progress = trainer.progress
    assert (progress.epoch, progress.step, progress.examples, progress.dropped) == (6, 36, 48, 0)
    assert progress.validation_accuracy > 0.7
    trainer.export(tmp_path)
    assert load_reward(resolve_model_folder(str(tmp_path), "reward")).kind == form
    assert prefers_bright(tmp_path)


def test_an_exported_scorer_knows_the_rate_of_new_products_and_its_own_sharpness(backbone: Path, tmp_path: Path):
    trainer = make_trainer(backbone, "scorer")
    before = float(trainer.engine.module.log_tau.detach())
    train(trainer, 6, 64)
    trainer.export(tmp_path)
    model = load_reward(resolve_model_folder(str(tmp_path), "reward"))
    assert isinstance(model, RewardScorer)
    rows = make_rows(70, 4)
    scores = model.score([Product(str(k), f"mug {k}", "kitchen") for k in rows.product_index], rows.images)
    assert (rows.impressions * model.ctr(scores)).sum() == pytest.approx(rows.clicks.sum(), rel=0.1)
    # At the network's own rate tau could have moved by no more than lr a step.
    assert abs(np.log(model.spec.tau) - before) > 36 * 2e-3


@pytest.mark.parametrize(("form", "zero_stage"), [("scorer", 1), ("side_by_side", 3)])
def test_an_adapter_learns_alone_and_is_merged_into_a_plain_folder(backbone: Path, form: str, zero_stage: int, tmp_path: Path):
    trainer = make_trainer(backbone, form, finetune="lora", lora_rank=4, lora_alpha=8, zero_stage=zero_stage, lr=5e-3)
    frozen = [name for name, value in trainer.engine.module.named_parameters() if not value.requires_grad]
    assert any("vision" in name for name in frozen)
    train(trainer, 6, SIZES[form])
    # The backbone is random and frozen: an adapter of rank 4 gets less out of it than full training does.
    assert trainer.progress.validation_accuracy > 0.6
    trainer.save(tmp_path / "checkpoint")
    trainer.export(tmp_path / "out")
    assert not any("lora" in name for name in load_file(tmp_path / "out" / "model.safetensors"))
    assert prefers_bright(tmp_path / "out")
    again = make_trainer(backbone, form, finetune="lora", lora_rank=4, lora_alpha=8, zero_stage=zero_stage, lr=5e-3)
    again.load(tmp_path / "checkpoint")
    again.validate(make_groups(SIZES[form], range(48, 70)))
    assert again.progress.validation_loss == pytest.approx(trainer.progress.validation_loss, rel=1e-5)
    with pytest.raises(CheckpointError, match="lora_rank"):
        make_trainer(backbone, form, zero_stage=zero_stage).load(tmp_path / "checkpoint")


def test_a_new_scorer_says_nothing_of_any_creative(backbone: Path):
    model = make_trainer(backbone, "scorer").engine.module.model
    creatives = [np.full((64, 64, 3), value, np.uint8) for value in (0, 255)]
    assert model.score([Product("p", "mug", "kitchen")] * 2, creatives).tolist() == [0.0, 0.0]


def test_a_trained_model_goes_on_head_and_all_and_stays_the_best_where_no_epoch_is(backbone: Path, tmp_path: Path):
    first = make_trainer(backbone, "scorer")
    train(first, 3, 64)
    first.export(tmp_path)
    again = make_trainer(tmp_path, "scorer", start_from=str(tmp_path), lr=0.1, epochs=1)
    kept, losses = list[int](), list[float]()

    def keep() -> None:
        kept.append(again.progress.epoch)
        losses.append(again.progress.validation_loss)

    epoch, validation = make_groups(64, range(48)), make_groups(64, range(48, 70))
    progress = again.run(lambda number: epoch, lambda: validation, keep, begins_trained=True)
    assert losses == [pytest.approx(first.progress.validation_loss, rel=1e-3)]
    # At that rate the epoch could only do harm.
    assert (kept, progress.epoch, progress.best_epoch) == ([0], 1, 0) and not progress.validation_loss < progress.best_loss
    check_trained(progress)


def test_a_scorers_validation_batch_takes_one_forward_pass_and_measures_its_training_loss(backbone: Path):
    trainer = make_trainer(backbone, "scorer")
    passes = []
    trainer.engine.module.model.register_forward_hook(lambda *call: passes.append(1))
    (batch,) = make_groups(64, range(48, 56))
    task = trainer._task
    task.begin_validation()
    with torch.no_grad():
        seen = task.measure(trainer.engine, batch)
        assert len(passes) == 1
        assert seen.loss == pytest.approx(float(task.loss(trainer.engine, batch, np.random.default_rng(0), 0)), rel=1e-5)
    # Of six pairs a test; creatives clicked alike have no order.
    assert (seen.weight, seen.told) == (8.0, 47.0)


def test_an_adapter_on_a_form_without_language_model_is_refused():
    with pytest.raises(ValueError, match="no language model"):
        RewardTrainConfig(form="vam", finetune="lora")


def test_the_forms_train_in_bfloat16(backbone: Path, tmp_path: Path):
    for form, size in SIZES.items():
        trainer = make_trainer(backbone, form, dtype="bfloat16")
        trainer.train_epoch(make_groups(size, range(16)))
        assert np.isfinite(trainer.progress.train_loss)
        assert trainer.validate(make_groups(size, range(48, 56)))
        trainer.export(tmp_path / form)
        load_reward(resolve_model_folder(str(tmp_path / form), "reward"))


def test_a_job_goes_on_from_its_checkpoint_as_if_it_had_not_stopped(backbone: Path, tmp_path: Path):
    whole, first, second = (make_trainer(backbone, "scorer") for _ in range(3))
    train(whole, 3, 64)
    train(first, 2, 64)
    first.save(tmp_path)
    second.load(tmp_path)
    train(second, 1, 64)
    assert second.progress == whole.progress
    with pytest.raises(CheckpointError, match="but the config says"):
        make_trainer(backbone, "cg4ctr").load(tmp_path)
    with pytest.raises(CheckpointError, match="no learner checkpoint"):
        make_trainer(backbone, "scorer").load(tmp_path / "none")


def test_broken_steps_are_dropped_and_three_in_a_row_stop_the_job(backbone: Path):
    trainer = make_trainer(backbone, "cg4ctr")
    broken = [dict(groups, impressions=[values * np.nan for values in groups["impressions"]]) for groups in make_groups(32, range(48))]
    weight = trainer.engine.module.model.heads["score"].weight
    before = weight.detach().clone()
    trainer.train_epoch([broken[0], *broken])
    assert (trainer.progress.dropped, trainer.progress.stopped, trainer.progress.step) == (3, "broken_steps", 0)
    assert bool((weight == before).all())


@pytest.mark.parametrize(
    ("zero_stage", "dtype"), [(0, "float32"), (1, "float32"), (2, "float32"), (3, "float32"), (0, "bfloat16"), (1, "bfloat16")]
)
def test_a_step_whose_gradient_is_no_number_changes_no_weight_and_is_counted(backbone: Path, zero_stage: int, dtype: str):
    trainer = make_trainer(backbone, "cg4ctr", zero_stage=zero_stage, dtype=dtype)
    batches = list(make_groups(32, range(48)))
    trainer.train_epoch(batches[:2])
    weight = trainer.engine.module.model.heads["score"].weight
    before = gathered_copy(weight)
    hook = weight.register_hook(lambda gradient: gradient * float("nan"))
    trainer.train_epoch(batches[:2])
    assert (trainer.progress.dropped, trainer.progress.stopped, trainer.progress.step) == (2, "", 2)
    assert torch.equal(gathered_copy(weight), before)
    # A sound step between makes the count begin anew, and learns.
    hook.remove()
    trainer.train_epoch(batches[:1])
    assert (trainer.progress.dropped, trainer.progress.step) == (2, 3)
    assert not torch.equal(gathered_copy(weight), before)
    weight.register_hook(lambda gradient: gradient * float("inf"))
    trainer.train_epoch(batches)
    assert (trainer.progress.dropped, trainer.progress.stopped, trainer.progress.step) == (5, "broken_steps", 3)
    assert all(bool(torch.isfinite(gathered_copy(value)).all()) for value in trainer.engine.module.parameters())


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_a_step_in_micro_batches_is_the_step_of_the_whole_batch(backbone: Path, zero_stage: int):
    """With as many pairs in each part, the parts' means are the whole's."""
    moved = []
    for size in (None, 2):
        trainer = make_trainer(backbone, "vam", zero_stage=zero_stage, micro_batch_size=size)
        trainer.train_epoch(make_groups(32, range(48)))
        trainer.validate(make_groups(32, range(48, 64)))
        weight = gathered_copy(trainer.engine.module.model.heads["score"].weight)
        moved.append((weight, trainer.progress))
    (whole, one), (parts, other) = moved
    assert torch.allclose(whole, parts, atol=2e-5)
    assert (one.step, one.examples) == (other.step, other.examples) == (6, 48)
    assert other.train_loss == pytest.approx(one.train_loss, rel=1e-3)
    assert other.validation_loss == pytest.approx(one.validation_loss, rel=1e-3)


@pytest.mark.parametrize("zero_stage", [0, 1, 3])
def test_one_broken_micro_batch_drops_the_whole_step(backbone: Path, zero_stage: int):
    trainer = make_trainer(backbone, "cg4ctr", zero_stage=zero_stage, micro_batch_size=4)
    sound, broken = list(make_groups(32, range(16)))
    broken = dict(broken, impressions=[values * (np.nan if k == 0 else 1.0) for k, values in enumerate(broken["impressions"])])
    weight = trainer.engine.module.model.heads["score"].weight
    before = gathered_copy(weight)
    trainer.train_epoch([broken])
    assert (trainer.progress.dropped, trainer.progress.step) == (1, 0)
    assert torch.equal(gathered_copy(weight), before)
    trainer.train_epoch([sound])
    assert (trainer.progress.dropped, trainer.progress.step) == (1, 1)
    assert bool(torch.isfinite(gathered_copy(weight)).all()) and not torch.equal(gathered_copy(weight), before)


def test_an_epoch_without_a_validation_loss_is_nothing_to_go_on_from(backbone: Path):
    trainer = make_trainer(backbone, "cg4ctr")
    trainer.train_epoch(make_groups(32, range(8)))
    trainer.validate(make_groups(32, range(48, 56)))
    assert trainer.progress.is_sound
    trainer.engine.module.model.heads["score"].weight.data.fill_(float("nan"))
    assert not trainer.validate(make_groups(32, range(48, 56)))
    assert not trainer.progress.is_sound


def test_the_learning_rate_rises_through_the_warm_up(backbone: Path):
    trainer = make_trainer(backbone, "vam", warmup_share=0.5, lr=1e-3)
    rates = []
    for _ in range(3):
        trainer.train_epoch(make_groups(32, range(48)))
        rates.append(trainer.engine.optimizer.param_groups[0]["lr"])
    # Six steps an epoch, 36 in all, of which 18 rise.
    assert rates == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3])


def test_training_stops_when_patience_is_over(backbone: Path):
    trainer = make_trainer(backbone, "scorer", patience=1, lr=1e-12)
    validation = list(make_groups(64, range(48, 56)))
    trainer.train_epoch(make_groups(64, range(8)))
    assert trainer.validate(validation)
    trainer.progress.best_loss -= 1.0
    trainer.train_epoch(make_groups(64, range(8)))
    assert not trainer.validate(validation)
    assert trainer.progress.stopped == "patience"


def test_a_stopped_job_is_gone_on_with_where_its_reason_is_gone(backbone: Path, tmp_path: Path):
    trainer = make_trainer(backbone, "vam", patience=2)
    trainer.progress.epoch, trainer.progress.best_epoch, trainer.progress.stopped = 5, 3, "patience"
    trainer.save(tmp_path / "patience")
    trainer.progress.epoch, trainer.progress.stopped = 4, "broken_steps"
    trainer.save(tmp_path / "broken")

    def stopped(folder: str, patience: int) -> str:
        again = make_trainer(backbone, "vam", patience=patience)
        again.load(tmp_path / folder)
        return again.progress.stopped

    assert stopped("patience", 2) == "patience"
    assert stopped("patience", 3) == ""
    assert stopped("broken", 2) == ""
    assert stopped("broken", 1) == "patience"
