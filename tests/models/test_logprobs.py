"""Answer log-probs against a naive recomputation in float64, and their independence of padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from caig_rl.models.answer_batch import collate_answers, collate_shared
from caig_rl.models.logprobs import answer_log_probs, batch_log_probs
from caig_rl.models.policy import load_policy
from caig_rl.models.prompting import chat_prompt, encode_prompts
from caig_rl.types import ImageArray
from tests.tiny import make_tiny_policy, random_picture

ANSWERS = [(60, 61, 62, 63, 64, 65, 2), (100, 90, 2), (44,)]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, ProcessorMixin]:
    return load_policy(make_tiny_policy(tmp_path_factory.mktemp("policy")))


def make_rows(processor: ProcessorMixin) -> tuple[list[str], list[ImageArray]]:
    texts = ["a red mug on a table", "describe a background for the product, soft light", "fruit"]
    return [chat_prompt(processor, text) for text in texts], [random_picture(seed) for seed in range(3)]


@torch.no_grad()
def naive_log_probs(
    model: PreTrainedModel, processor: ProcessorMixin, prompt: str, image: ImageArray, answer: tuple[int, ...]
) -> list[float]:
    """One row, no padding, all logits, a loop over positions."""
    inputs = processor(text=[prompt], images=[Image.fromarray(image)], return_tensors="pt")
    ids = torch.cat([inputs["input_ids"], torch.tensor([answer])], dim=1)
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=inputs["pixel_values"].to(model.dtype)).logits[0]
    start = ids.shape[1] - len(answer)
    return [logits[start + place - 1].log_softmax(-1)[token].item() for place, token in enumerate(answer)]


def test_log_probs_equal_a_naive_recomputation_in_float64(tmp_path: Path) -> None:
    model, processor = load_policy(make_tiny_policy(tmp_path), torch.float64)
    prompts, images = make_rows(processor)
    with torch.no_grad():
        result = answer_log_probs(model, processor, prompts, images, ANSWERS)
    for row, answer in enumerate(ANSWERS):
        expected = naive_log_probs(model, processor, prompts[row], images[row], answer)
        assert result.tokens[row, : len(answer)].tolist() == pytest.approx(expected, abs=1e-9)
        assert result.sums[row].item() == pytest.approx(sum(expected), abs=1e-8)


def test_padding_and_neighbours_do_not_change_a_row(policy: tuple[PreTrainedModel, ProcessorMixin]) -> None:
    model, processor = policy
    prompts, images = make_rows(processor)
    with torch.no_grad():
        together = answer_log_probs(model, processor, prompts, images, ANSWERS)
        for row, answer in enumerate(ANSWERS):
            alone = answer_log_probs(model, processor, [prompts[row]], [images[row]], [answer])
            assert torch.allclose(together.tokens[row, : len(answer)], alone.tokens[0], atol=2e-5)


def test_only_the_answers_tokens_are_counted(policy: tuple[PreTrainedModel, ProcessorMixin]) -> None:
    model, processor = policy
    with torch.no_grad():
        result = answer_log_probs(model, processor, *make_rows(processor), ANSWERS)
    assert result.mask.sum(dim=1).tolist() == [len(answer) for answer in ANSWERS]
    assert torch.all(result.tokens[~result.mask] == 0.0)
    assert torch.all(result.tokens[result.mask] < 0.0)


def test_the_picture_matters(policy: tuple[PreTrainedModel, ProcessorMixin]) -> None:
    model, processor = policy
    prompts, images = make_rows(processor)
    with torch.no_grad():
        one = answer_log_probs(model, processor, prompts[:1], images[:1], ANSWERS[:1])
        other = answer_log_probs(model, processor, prompts[:1], images[1:2], ANSWERS[:1])
    assert np.abs(one.sums.item() - other.sums.item()) > 1e-3


def test_an_empty_answer_is_refused_by_its_place(policy: tuple[PreTrainedModel, ProcessorMixin]) -> None:
    model, processor = policy
    with pytest.raises(ValueError, match="answer 1 has no tokens"):
        answer_log_probs(model, processor, *make_rows(processor), [ANSWERS[0], (), ANSWERS[2]])


def test_answers_that_share_a_prompts_row_are_as_likely_as_each_alone_and_have_its_gradient(tmp_path: Path) -> None:
    model, processor = load_policy(make_tiny_policy(tmp_path), torch.float64)
    prompts, images = make_rows(processor)
    owners, answers = [2, 0, 0, 1, 0], [(44,), ANSWERS[0], ANSWERS[1], ANSWERS[1], (70, 71, 2)]
    encoded = encode_prompts(processor, prompts, images)
    found = []
    for batch in (
        collate_shared(encoded, answers, owners, processor),
        collate_answers(encode_prompts(processor, [prompts[k] for k in owners], [images[k] for k in owners]), answers, processor),
    ):
        model.zero_grad()
        result = batch_log_probs(model, batch)
        (result.sums * torch.arange(1.0, 6.0)).sum().backward()
        found.append((batch.inputs["input_ids"].shape[0], result, [one.grad.clone() for one in model.parameters() if one.grad is not None]))
    (rows, shared, gradients), (_, alone, expected) = found
    assert rows == 3
    torch.testing.assert_close(shared.tokens, alone.tokens, atol=1e-12, rtol=0.0)
    for one, other in zip(gradients, expected, strict=True):
        # The vision tower takes its soft-max in float32, whatever the weights are.
        assert float((one - other).norm()) <= 1e-5 * float(other.norm()) + 1e-9
