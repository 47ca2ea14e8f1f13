"""Supervised fine-tuning learns, and its loss is the cross-entropy of the answer alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from caig_rl.learning.sft import (
    SftExample,
    SftProgress,
    SftSettings,
    answer_token_ids,
    learning_rate_factor,
    sft_loss,
    shuffled_epochs,
    train_sft,
)
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


def test_training_learns_the_answers_and_reports(folder: Path) -> None:
    model, processor = load_policy(folder)
    seen: list[SftProgress] = []
    settings = SftSettings(steps=30, batch_size=8, lr=5e-3, warmup_steps=3, log_every=10)
    last = train_sft(model, processor, shuffled_epochs(EXAMPLES, 0), settings, seen.append)
    assert [progress.step for progress in seen] == [10, 20, 30]
    assert last.loss < 0.5 * seen[0].loss
    assert last.lr == pytest.approx(settings.lr * settings.min_lr_ratio)


def test_examples_that_run_out_are_an_error(folder: Path) -> None:
    with pytest.raises(ValueError, match="ran out after 2 of 5 steps"):
        train_sft(*load_policy(folder), EXAMPLES, SftSettings(steps=5, batch_size=4))


def test_an_epoch_holds_every_example_once() -> None:
    stream = shuffled_epochs(EXAMPLES, 3)
    for _ in range(2):
        drawn = [next(stream) for _ in EXAMPLES]
        assert {id(example) for example in drawn} == {id(example) for example in EXAMPLES}


def test_the_learning_rate_warms_up_and_falls() -> None:
    settings = SftSettings(steps=110, warmup_steps=10, min_lr_ratio=0.1)
    assert learning_rate_factor(0, settings) == pytest.approx(0.1)
    assert learning_rate_factor(10, settings) == pytest.approx(1.0)
    assert learning_rate_factor(60, settings) == pytest.approx(0.55)
    assert learning_rate_factor(110, settings) == pytest.approx(0.1)
