"""A reward model of any form as the task of a `Trainer`: batches of whole tests in, a plain reward folder out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caig_rl.config.reward import ClicksConfig, RewardTrainConfig
from caig_rl.learning.engine import gathered_copy, sum_over_ranks
from caig_rl.learning.reward.objective import INITIAL_TAU, LogFacts, Trainee, batch_loss, new_model, rows_of_groups, scorer_loss
from caig_rl.learning.reward.pairs import FloatArray, RewardPairs, all_pairs, fit_tau
from caig_rl.learning.reward.rows import RewardRows
from caig_rl.learning.train_task import Measured
from caig_rl.models.policy import attach_lora, merged_weights
from caig_rl.models.reward.encoders import EncoderReward
from caig_rl.models.reward.scorer import RewardScorer
from caig_rl.models.reward.side_by_side import SideBySideReward
from caig_rl.objectives.clicks import fit_intercepts
from caig_rl.types import ImageArray

TAU_LR_SCALE = 30.0
"""tau's learning rate, as a multiple of the network's: one number for all pairs can move faster without harm, and in few steps must."""
WIDE_PRIOR_STD = 10.0
"""Of the one intercept that is fitted to all validation rows together: they decide it alone."""
Groups = Mapping[str, Sequence[Any]]
"""A batch of `GROUP_SCHEMA` columns."""


class RewardTask:
    """Model and what the log says; one a rank."""

    def __init__(
        self, config: RewardTrainConfig, clicks: ClicksConfig, facts: LogFacts, backbone: Path, seed: int, segments: Sequence[str] = ()
    ) -> None:
        """Build a model of `config.form` over the checked model folder `backbone`; `segments`: of shoppers, their clicks learned apart."""
        self.name, self._segments = f"reward {config.form}", segments
        self._config, self._clicks, self._facts, self._backbone = config, clicks, facts, backbone
        self._pairs: list[tuple[FloatArray, FloatArray]] = []
        self._rows: list[tuple[FloatArray, RewardRows]] = []
        # New heads, and an adapter's random half, must be the same on all ranks and at every start.
        torch.manual_seed(seed)
        self.model = new_model(config, backbone, facts)
        if config.finetune == "lora":
            assert not isinstance(self.model, EncoderReward)
            self.model.backbone = attach_lora(self.model.backbone, config.lora_rank, config.lora_alpha)
        goes_on = config.start_from is not None
        self.module = Trainee(self.model, self.model.spec.tau if goes_on and isinstance(self.model, RewardScorer) else INITIAL_TAU)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The model's trained weights, and for the scorer tau."""
        groups: list[dict[str, Any]] = [{"params": [weight for weight in self.model.parameters() if weight.requires_grad]}]
        if self.module.log_tau.requires_grad:
            groups.append({"params": [self.module.log_tau], "lr_scale": TAU_LR_SCALE, "weight_decay": 0.0})
        return groups

    def loss(self, engine: Any, batch: Groups, rng: np.random.Generator, epoch: int) -> torch.Tensor:
        """The form's own loss on the pairs that `clicks.policy` keeps, scaled so that its mean over ranks is the mean over their pairs."""
        loss, weight = batch_loss(engine, self.model, rows_of_groups(self.model, batch), self._facts, self._clicks, rng)
        (everywhere,) = sum_over_ranks(torch.tensor([weight])).tolist()
        return loss * (weight * self._config.workers / everywhere) if everywhere > 0.0 else loss

    def begin_validation(self) -> None:
        """Forget the scores of the last pass."""
        self._pairs, self._rows = [], []

    def measure(self, engine: Any, batch: Groups) -> Measured:
        """Loss, and how many pairs with an order the model puts in it."""
        rows = rows_of_groups(self.model, batch)
        tests = np.arange(len(rows.product_texts))
        pairs = all_pairs(rows, tests, self._facts.prior_impressions, self._clicks.max_pairs_per_test)
        if isinstance(self.model, RewardScorer):
            # Its loss asks for every creative's score, as the order does: one forward pass gives both.
            loss, scores = scorer_loss(engine, rows, self._facts)
            weight = float(len(tests))
            difference = self._differences(rows, scores, pairs)
        else:
            loss, weight = batch_loss(engine, self.model, rows, self._facts, self._clicks, None)
            difference = self._ask(engine, rows, pairs)
        told = pairs.label != 0.5
        guess = 0.5 + 0.5 * np.sign(difference[told])
        return Measured(float(loss), weight, float((1.0 - np.abs(guess - pairs.label[told])).sum()), float(told.sum()))

    def _ask(self, engine: Any, rows: RewardRows, pairs: RewardPairs) -> FloatArray:
        """(M,) by how much the model prefers each pair's first."""
        texts = [rows.product_texts[int(k)] for k in rows.product_index]
        if isinstance(self.model, SideBySideReward):
            first, second = ([rows.images[int(k)] for k in side] for side in (pairs.first, pairs.second))
            of_pair = [texts[int(k)] for k in pairs.first]
            return _left(engine, self.model, of_pair, first, second) - _left(engine, self.model, of_pair, second, first)
        answer = engine(texts, rows.images)[0]
        return self._differences(rows, answer if isinstance(answer, torch.Tensor) else answer[0], pairs)

    def _differences(self, rows: RewardRows, answer: torch.Tensor, pairs: RewardPairs) -> FloatArray:
        """(M,) differences of the (N,) scores `answer`, which are kept for `export`."""
        scores = answer.cpu().double().numpy()
        difference: FloatArray = scores[pairs.first] - scores[pairs.second]
        self._pairs.append((difference, pairs.order_probability))
        self._rows.append((scores, dataclasses.replace(rows, images=[])))
        return difference

    def export(self, folder: Path, rank: int) -> None:
        """Write the plain reward folder; what it says of its own scale is read off this rank's last validation pass."""
        weights = self._weights()
        tau = float(gathered_copy(self.module.log_tau).float().exp()[0])
        if rank != 0:
            return
        copy = new_model(self._config, self._backbone, self._facts)
        copy.load_state_dict(weights)
        if isinstance(copy, RewardScorer):
            copy.spec = dataclasses.replace(copy.spec, tau=tau, prior_logit=self._prior_logit())
        elif isinstance(copy, EncoderReward) and copy.kind == "vam":
            # A list-wise score has a scale of its own; how sure a difference makes an order shows on pairs that it did not train on.
            differences, probabilities = (np.concatenate(parts) for parts in zip(*self._pairs, strict=True))
            copy.spec = dataclasses.replace(copy.spec, tau=fit_tau(differences, probabilities))
        if copy.kind != "vam":  # it reads no text, so it cannot tell them apart
            taught = tuple(dict.fromkeys([*copy.spec.segments, *self._segments]))
            copy.spec = dataclasses.replace(copy.spec, segments=taught)
        folder.mkdir(parents=True, exist_ok=True)
        copy.save(folder)

    def _weights(self) -> dict[str, torch.Tensor]:
        """Full CPU copies under the plain model's names, an adapter merged in; all ranks call."""
        state = self.model.state_dict(keep_vars=True)
        if isinstance(self.model, EncoderReward):
            return {name: gathered_copy(value) for name, value in state.items()}
        merged = {f"backbone.{name}": value for name, value in merged_weights(self.model.backbone, gathered_copy).items()}
        return merged | {name: gathered_copy(value) for name, value in state.items() if not name.startswith("backbone.")}

    def _prior_logit(self) -> float:
        """The one intercept that fits all validation rows together: what a product without clicks of its own is expected with."""
        if not self._rows:
            return self._facts.prior_logit
        scores = torch.from_numpy(np.concatenate([scores for scores, _ in self._rows]))
        clicks, shown = (torch.from_numpy(np.concatenate([getattr(r, n) for _, r in self._rows])) for n in ("clicks", "impressions"))
        together = torch.zeros(len(scores), dtype=torch.int64)
        return float(fit_intercepts(scores, clicks, shown, together, self._facts.prior_logit, WIDE_PRIOR_STD)[0])


def _left(
    engine: Any, model: SideBySideReward, texts: Sequence[str], lefts: Sequence[ImageArray], rights: Sequence[ImageArray]
) -> FloatArray:
    """(M,) log-odds of "left" in this order alone."""
    logits = engine(texts, [model.picture(a, b) for a, b in zip(lefts, rights, strict=True)])[0][0]
    return np.asarray((logits[:, 0] - logits[:, 1]).cpu().double().numpy())
