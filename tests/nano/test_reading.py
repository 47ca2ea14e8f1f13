"""What the reader is taught beside reading: the prompt's last token, which the reward model scores, holds all words of the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from caig_rl.learning.sft import SftExample, answer_batch, answer_token_ids, sft_loss
from caig_rl.models.logprobs import batch_log_probs, batch_log_probs_and_first
from caig_rl.models.policy import load_policy
from caig_rl.models.prompting import chat_prompt, encode_prompts
from caig_rl.nano.reader import WORDS_WEIGHT, ReadingTask
from tests.tiny import make_tiny_policy, random_picture

EXAMPLES = [
    SftExample("describe a background", random_picture(0), "a red mug on a table"),
    SftExample("describe a background for the product", random_picture(1), "fruit"),
]


def test_the_first_distribution_is_that_of_the_prompt_alone(tmp_path: Path):
    model, processor = load_policy(make_tiny_policy(tmp_path))
    with torch.no_grad():
        found, first = batch_log_probs_and_first(model, answer_batch(processor, EXAMPLES))
        assert torch.equal(found.tokens, batch_log_probs(model, answer_batch(processor, EXAMPLES)).tokens)
        for row, example in enumerate(EXAMPLES):
            encoded = encode_prompts(processor, [chat_prompt(processor, example.instruction)], [example.image])
            ids = torch.tensor([encoded.token_ids[0]])
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **encoded.pictures).logits[0, -1]
            (answer,) = answer_token_ids(processor, [example.answer])
            expected = logits.log_softmax(-1)[list(answer)]
            assert first[row, : len(answer)].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
            assert not first[row, len(answer) :].any()
        loss = ReadingTask(model, processor).loss(model, EXAMPLES, np.random.default_rng(0), 0)
        words = -first.sum() / found.mask.sum()
        assert float(loss) == pytest.approx(float(sft_loss(model, processor, EXAMPLES) + WORDS_WEIGHT * words), rel=1e-6)


def test_words_that_come_late_in_the_answer_reach_the_prompts_last_token(tmp_path: Path):
    model, processor = load_policy(make_tiny_policy(tmp_path))
    task, batch = ReadingTask(model, processor), answer_batch(processor, EXAMPLES)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def known() -> tuple[float, float]:
        """Mean log-probs of the later words: as the answer's first, and in their place."""
        with torch.no_grad():
            found, first = batch_log_probs_and_first(model, batch)
        return float(first[0, 1:].mean()), float(found.tokens[0, 1:].mean())

    before = known()
    for _ in range(20):
        optimiser.zero_grad()
        task.loss(model, EXAMPLES, np.random.default_rng(0), 0).backward()
        optimiser.step()
    after = known()
    assert after[0] > before[0] + 0.5
    assert after[1] > before[1] + 0.5
