"""The objectives by name: what each learns from, and its loss of a batch of scored groups. `docs/concepts/pcpo.md` compares them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from caig_rl.config.schema import Config
from caig_rl.objectives.best_worst import best_worst_dpo_loss
from caig_rl.objectives.cdpo import soft_label_dpo_loss
from caig_rl.objectives.groups import ScoredGroups
from caig_rl.objectives.ipo import ipo_loss
from caig_rl.objectives.listwise import listwise_loss
from caig_rl.objectives.policy_gradient import clipped_policy_gradient_loss
from caig_rl.objectives.rebel import rebel_loss
from caig_rl.objectives.sft import winner_likelihood_loss

Candidates = Literal["all", "best and worst", "best"]


class ObjectiveSettings(Protocol):
    """The settings that losses read, `learner.*` of the same names."""

    @property
    def beta(self) -> float:
        """Temperature of DPO, IPO and REBEL."""

    @property
    def sharpness(self) -> float:
        """How sharply rewards weigh, per log-odds."""

    @property
    def clip_low(self) -> float:
        """Of the policy gradient."""

    @property
    def clip_high(self) -> float:
        """Of the policy gradient."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One way to learn from scored groups."""

    candidates: Candidates
    """Which of a group's answers are run through the policy."""
    loss: Callable[[ScoredGroups, ObjectiveSettings], torch.Tensor]
    """(G,) losses."""
    has_negative: bool = False
    """True where the product-centric term reads the best answer under replaced product information."""
    shapes_rewards: bool = False
    """True where rewards are product-centric: mixed with the prompt model's, less what a prompt is worth to any product."""


def _best_worst(groups: ScoredGroups, settings: ObjectiveSettings) -> torch.Tensor:
    return best_worst_dpo_loss(groups, settings.beta)


def _listwise(groups: ScoredGroups, settings: ObjectiveSettings) -> torch.Tensor:
    return listwise_loss(groups, settings.sharpness)


OBJECTIVES: dict[str, Objective] = {
    "pcpo": Objective("all", _listwise, shapes_rewards=True),
    "pcpo_paper": Objective("best and worst", _best_worst, has_negative=True),
    "pcpo_official": Objective("best and worst", _best_worst, has_negative=True),
    "dpo": Objective("best and worst", _best_worst),
    "cdpo": Objective("all", lambda groups, settings: soft_label_dpo_loss(groups, settings.beta, settings.sharpness)),
    "listwise": Objective("all", _listwise),
    "ipo": Objective("all", lambda groups, settings: ipo_loss(groups, settings.beta)),
    "rebel": Objective("all", lambda groups, settings: rebel_loss(groups, settings.beta, settings.sharpness)),
    "policy_gradient": Objective(
        "all",
        lambda groups, settings: clipped_policy_gradient_loss(groups, settings.clip_low, settings.clip_high, settings.sharpness),
    ),
    "sft": Objective("best", lambda groups, settings: winner_likelihood_loss(groups)),
}
"""Every value of the key `objective`."""


def has_negatives(config: Config) -> bool:
    """Whether a run of `config` learns from product-centric negatives."""
    return OBJECTIVES[config.objective].has_negative and config.learner.pc_weight > 0.0
