"""What the vision tower is taught before the language model reads: the words of a caption from the picture alone."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from caig_rl.learning.pretrain.sft import SftExample
from caig_rl.models.policy import load_policy
from caig_rl.nano.seeing import SeeingTask, pictures_of_two, teach_seeing
from tests.tiny import make_tiny_policy, random_picture

EXAMPLES = [SftExample("what is this?", random_picture(0), "a red mug on a red table"), SftExample("and this?", random_picture(1), "fruit")]


def loss(task: SeeingTask, batch: list[SftExample]) -> float:
    with torch.no_grad():
        return float(task.loss(task.module, batch, np.random.default_rng(0), 0))


def test_the_loss_counts_each_word_of_a_caption_once_and_never_reads_the_question(tmp_path: Path):
    model, processor = load_policy(make_tiny_policy(tmp_path))
    task = SeeingTask(model, processor)
    example = EXAMPLES[0]
    words = sorted(set(processor.tokenizer(example.answer, add_special_tokens=False)["input_ids"]))
    with torch.no_grad():
        features = model.model.get_image_features(torch.from_numpy(pixels(processor, example))[:, None]).pooler_output
        log_probs = task.module.head(features.mean(dim=1)).log_softmax(dim=-1)
    assert loss(task, [example]) == pytest.approx(-float(log_probs[0, words].mean()), rel=1e-5)
    assert loss(task, [SftExample("another question", example.image, example.answer)]) == loss(task, [example])


def pixels(processor: object, example: SftExample) -> np.ndarray:
    """(1, 3, height, width) as the image processor makes them."""
    from caig_rl.models.prompting import chat_prompt, encode_prompts

    return encode_prompts(processor, [chat_prompt(processor, "x")], [example.image]).pictures["pixel_values"][:, 0].numpy()  # type: ignore[arg-type]


def teach(folder: Path) -> tuple[list[float], set[str]]:
    """Losses and names of what moved. In a process of its own: another test may have closed the process group that DeepSpeed knows of."""
    model, processor = load_policy(make_tiny_policy(folder))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    told: list[float] = []
    teach_seeing(model, processor, EXAMPLES * 24, 100, 0, lambda *step: told.append(step[3]))
    return told, {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def test_pictures_are_told_apart_by_a_tower_that_the_policy_keeps(tmp_path: Path):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        told, moved = pool.submit(teach, tmp_path).result()
    assert len(told) == 2 and told[1] < told[0] - 0.5
    assert moved and all("vision_model" in name or "connector" in name for name in moved)


def test_a_picture_of_two_shows_both_with_the_captions_of_both():
    first, second = pictures_of_two(EXAMPLES)
    assert first.answer == "a red mug on a red table fruit"
    assert second.answer == "fruit a red mug on a red table"
    assert first.image.shape == second.image.shape == (64, 64, 3)
    assert np.array_equal(first.image[16:48, :32], second.image[16:48, 32:])
    assert not np.array_equal(first.image, second.image)
