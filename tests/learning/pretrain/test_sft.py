"""Supervised fine-tuning learns, and its loss is the cross-entropy of the answer alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from caig_rl.config.training import TrainJobConfig
from caig_rl.learning.engine import init_group
from caig_rl.learning.pretrain.sft import SftExample, SftTask, answer_token_ids, batches_of_like_length, sft_loss, shuffled_epochs
from caig_rl.learning.trainer import Trainer
from caig_rl.models.policy import load_policy
from caig_rl.models.prompting import chat_prompt, encode_prompts
from tests.tiny import make_tiny_policy, random_picture

ANSWERS = ["a red mug on a table", "fresh fruit on a kitchen counter"]
EXAMPLES = [SftExample("describe a background", random_picture(index), ANSWERS[index % 2]) for index in range(8)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_policy(tmp_path)


def test_the_loss_is_the_models_own_with_the_prompt_left_out(folder: Path) -> None:
    model, processor = load_policy(folder)
    example = EXAMPLES[0]
    encoded = encode_prompts(processor, [chat_prompt(processor, example.instruction)], [example.image])
    answer = answer_token_ids(processor, [example.answer])[0]
    ids = torch.tensor([[*encoded.token_ids[0], *answer]])
    labels = torch.tensor([[-100] * len(encoded.token_ids[0]) + list(answer)])
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, **encoded.pictures).loss
        assert sft_loss(model, processor, [example]).item() == pytest.approx(expected.item(), abs=1e-5)


def test_answers_end_with_the_end_token(folder: Path) -> None:
    processor = load_policy(folder)[1]
    ids = answer_token_ids(processor, ANSWERS)
    assert all(row[-1] == processor.tokenizer.eos_token_id for row in ids)
    assert processor.tokenizer.decode(ids[0][:-1]) == ANSWERS[0]


def make_trainer(folder: Path, steps: int, **settings: Any) -> Trainer:
    init_group(0, 1)
    config = TrainJobConfig(**{"batch_size": 8, "lr": 5e-3, "warmup_share": 0.1, "zero_stage": 0} | settings)
    return Trainer(SftTask(*load_policy(folder)), config, 0, steps, 0)


def test_the_trainer_learns_the_answers_and_exports_a_policy_that_knows_them(folder: Path, tmp_path: Path) -> None:
    trainer = make_trainer(folder, 30)
    trainer.validate([EXAMPLES])
    before = trainer.progress.validation_loss
    trainer.train_epoch([EXAMPLES] * 30)
    assert trainer.validate([EXAMPLES])
    assert trainer.progress.examples == 240
    assert trainer.progress.validation_loss < 0.5 * before
    trainer.export(tmp_path / "out")
    with torch.no_grad():
        loss = sft_loss(*load_policy(tmp_path / "out"), EXAMPLES)
    assert float(loss) == pytest.approx(trainer.progress.validation_loss, rel=1e-4)


def test_validation_weighs_every_answer_token_alike(folder: Path) -> None:
    trainer = make_trainer(folder, 1)
    uneven = [EXAMPLES[:1], EXAMPLES[1:]]
    trainer.validate(uneven)
    apart = trainer.progress.validation_loss
    trainer.validate([EXAMPLES])
    assert apart == pytest.approx(trainer.progress.validation_loss, rel=1e-5)


def test_batches_are_full_of_like_length_and_hold_no_example_twice() -> None:
    examples = [SftExample("x" * index, EXAMPLES[0].image, "y") for index in range(50)]
    batches = list(batches_of_like_length(examples, 8, 0))
    assert [len(batch) for batch in batches] == [8] * 6
    lengths = [[len(example.instruction) for example in batch] for batch in batches]
    assert all(max(row) - min(row) == 7 for row in lengths)
    assert len({length for row in lengths for length in row}) == 48
    assert lengths != sorted(lengths)


def test_an_epoch_holds_every_example_once() -> None:
    stream = shuffled_epochs(EXAMPLES, 3)
    for _ in range(2):
        drawn = [next(stream) for _ in EXAMPLES]
        assert {id(example) for example in drawn} == {id(example) for example in EXAMPLES}
