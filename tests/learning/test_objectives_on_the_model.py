"""Loss and gradients of DPO and PCPO on the tiny model, against the formulas of METHOD written out naively, in float64."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from PIL import Image
from transformers import ProcessorMixin

from caig_rl.config.schema import Config
from caig_rl.imaging.masking import mask_patches
from caig_rl.learning.preference.losses import group_losses
from caig_rl.learning.preference.sequences import group_batch
from caig_rl.models.logprobs import batch_log_probs
from caig_rl.models.policy import attach_lora, load_policy, reference_mode
from caig_rl.models.prompting import chat_prompt
from caig_rl.types import ImageArray, NegativeKind
from tests.learning.pairs import make_config, make_pairs, make_views
from tests.tiny import make_tiny_policy

PAIRS, VIEWS = make_pairs(4), make_views(4)


def make_policy(folder: Path) -> tuple[PeftModel, ProcessorMixin]:
    base, processor = load_policy(make_tiny_policy(folder), torch.float64)
    model = attach_lora(base, rank=4, alpha=8).double()
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model, processor


def log_prob(model: PeftModel, processor: ProcessorMixin, text: str, image: ImageArray, answer: tuple[int, ...]) -> torch.Tensor:
    """log pi(y | x) of one sequence, without batch or padding."""
    inputs = processor(text=[chat_prompt(processor, text)], images=[Image.fromarray(image)], return_tensors="pt")
    ids = torch.cat([inputs["input_ids"], torch.tensor([answer])], dim=1)
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=inputs["pixel_values"].double()).logits[0]
    start = ids.shape[1] - len(answer)
    return torch.stack([logits[start + place - 1].log_softmax(-1)[token] for place, token in enumerate(answer)]).sum()


def naive_loss(model: PeftModel, processor: ProcessorMixin, config: Config) -> torch.Tensor:
    """mean(L_DPO + w * L_PCPO), one sequence at a time."""
    total = torch.zeros((), dtype=torch.float64)
    for pair, view in zip(PAIRS, VIEWS, strict=True):
        sequences = [(pair.instruction, view, pair.chosen.token_ids), (pair.instruction, view, pair.rejected.token_ids)]
        if pair.negative is NegativeKind.MASKED_IMAGE:
            sequences.append((pair.instruction, mask_patches(view, pair.negative_seed), pair.chosen.token_ids))
        else:
            sequences.append((pair.negative_instruction, view, pair.chosen.token_ids))
        with torch.no_grad(), reference_mode(model):
            reference = [log_prob(model, processor, *sequence) for sequence in sequences]
        winner, loser, negative = (log_prob(model, processor, *row) - ref for row, ref in zip(sequences, reference, strict=True))
        total = total - torch.log(torch.sigmoid(config.learner.beta * (winner - loser)))
        if config.objective == "pcpo_paper":
            total = total - config.learner.pc_weight * torch.log(torch.sigmoid(config.learner.beta_pc * (winner - negative)))
        likelihood = log_prob(model, processor, *sequences[0]) / len(pair.chosen.token_ids)
        total = total - config.learner.nll_weight * likelihood
    return total / len(PAIRS)


def gradients(model: PeftModel, loss: torch.Tensor) -> torch.Tensor:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, parameters)])


@pytest.mark.parametrize(("objective", "nll_weight"), [("dpo", 0.0), ("pcpo_paper", 0.0), ("pcpo_paper", 0.7)])
def test_loss_and_gradients_equal_the_naive_recomputation(tmp_path: Path, objective: str, nll_weight: float) -> None:
    model, processor = make_policy(tmp_path)
    config = make_config(tmp_path, objective, beta=0.4, beta_pc=0.6, pc_weight=0.8, nll_weight=nll_weight)
    batch = group_batch(config, processor, PAIRS, VIEWS, None)
    with torch.no_grad(), reference_mode(model):
        reference = batch_log_probs(model, batch.answers).sums
    fluent = torch.ones(len(reference), dtype=torch.bool)
    loss = group_losses(config, batch.scored(batch_log_probs(model, batch.answers), reference, fluent), 0.0, 0.8).total.mean()
    expected = naive_loss(model, processor, config)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert abs(loss.item() - 0.6931) > 0.01
    expected_gradients = gradients(model, expected)
    assert torch.allclose(gradients(model, loss), expected_gradients, atol=1e-6, rtol=0.0)
    assert float(expected_gradients.abs().max()) > 1e-3
