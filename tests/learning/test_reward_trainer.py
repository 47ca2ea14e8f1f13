"""One rank of a reward job, without a cluster: every form learns, goes on from a checkpoint, and is written as a plain folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caig_rl.config.reward import ClicksConfig, RewardTrainConfig
from caig_rl.data.clicks.groups import encode_png
from caig_rl.errors import CheckpointError
from caig_rl.learning.engine import init_group
from caig_rl.learning.reward_objective import LogFacts
from caig_rl.learning.reward_trainer import RewardTrainer
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward_loading import load_reward
from caig_rl.types import Product
from tests.learning.test_reward import make_rows
from tests.tiny import make_tiny_policy

SIZES = {"scorer": 64, "side_by_side": 32, "vam": 32, "cg4ctr": 32}


def make_groups(size: int, products: range, batch: int = 8) -> Iterator[dict[str, Any]]:
    """Bright creatives are clicked more; in batches as Ray Data hands them over."""
    rows = make_rows(70, 4)
    for start in range(products.start, products.stop, batch):
        names = range(start, min(start + batch, products.stop))
        places = [np.flatnonzero(rows.product_index == name) for name in names]
        yield {
            "product_id": [f"p{name}" for name in names],
            "title": [f"mug {name}" for name in names],
            "category": ["kitchen"] * len(names),
            "description": [""] * len(names),
            "images": [[encode_png(rows.images[int(k)][:size, :size]) for k in members] for members in places],
            "impressions": [rows.impressions[members].astype(float) for members in places],
            "clicks": [rows.clicks[members].astype(float) for members in places],
        }


def make_facts() -> LogFacts:
    rows = make_rows(70, 4)
    ctr = rows.clicks / rows.impressions
    return LogFacts(float(ctr.mean()), float(rows.clicks.mean()), float(ctr.mean()), float(ctr.std()), 500.0)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    init_group(0, 1)
    return make_tiny_policy(tmp_path_factory.mktemp("backbone"))


def make_trainer(backbone: Path, form: str, **settings: Any) -> RewardTrainer:
    config = RewardTrainConfig(form=form, image_size=SIZES[form], **{"epochs": 6, "batch_size": 8, "lr": 2e-3, "zero_stage": 1} | settings)
    return RewardTrainer(config, ClicksConfig(), make_facts(), backbone, rank=0, total_steps=6 * 6, seed=0)


def train(trainer: RewardTrainer, epochs: int, size: int) -> None:
    for _ in range(epochs):
        trainer.train_epoch(make_groups(size, range(48)))
        trainer.validate(make_groups(size, range(48, 70)))


@pytest.mark.parametrize("form", SIZES)
def test_every_form_learns_the_order_of_held_out_pairs(backbone: Path, form: str, tmp_path: Path):
    trainer = make_trainer(backbone, form)
    train(trainer, 6, SIZES[form])
    progress = trainer.progress
    assert (progress.epoch, progress.step, progress.tests, progress.dropped) == (6, 36, 48, 0)
    assert progress.validation_accuracy > 0.7
    trainer.export(tmp_path / "out")
    model = load_reward(resolve_model_folder(str(tmp_path / "out"), "reward"))
    dark, bright = (np.full((64, 64, 3), value, np.uint8) for value in (40, 220))
    assert model.kind == form
    assert model.compare([Product("p", "mug 3", "kitchen")], [bright], [dark])[0] > 0.0


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
    with pytest.raises(CheckpointError, match="no checkpoint of a reward job"):
        make_trainer(backbone, "scorer").load(tmp_path / "none")


def test_broken_steps_are_dropped_and_three_in_a_row_stop_the_job(backbone: Path):
    trainer = make_trainer(backbone, "cg4ctr")
    broken = [dict(groups, impressions=[values * np.nan for values in groups["impressions"]]) for groups in make_groups(32, range(48))]
    before = trainer.model.heads["score"].weight.detach().clone()
    trainer.train_epoch([broken[0], *broken])
    assert (trainer.progress.dropped, trainer.progress.stopped, trainer.progress.step) == (3, "broken_steps", 0)
    assert bool((trainer.model.heads["score"].weight == before).all())


def test_training_stops_when_patience_is_over(backbone: Path):
    trainer = make_trainer(backbone, "scorer", patience=1, lr=1e-12)
    validation = list(make_groups(64, range(48, 56)))
    trainer.train_epoch(make_groups(64, range(8)))
    assert trainer.validate(validation)
    trainer.progress.best_loss -= 1.0
    trainer.train_epoch(make_groups(64, range(8)))
    assert not trainer.validate(validation)
    assert trainer.progress.stopped == "patience"
