"""DPO with soft labels over all usable pairs: a pair that the reward is not sure of teaches less, and nothing is thrown away.

Conservative DPO (Mitchell 2023, A note on DPO with noisy preferences and relationship to IPO), its label from the reward's own log-odds.
"""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid

from caig_rl.objectives.groups import CandidatePairs, ScoredGroups, mean_where


def soft_label_dpo_loss(groups: ScoredGroups, beta: float, sharpness: float) -> torch.Tensor:
    """Mean over pairs of -p log sigmoid(beta h) - (1 - p) log sigmoid(-beta h), with p = sigmoid(sharpness (r_i - r_j)).

    h = (log pi(y_i|x) - log ref(y_i|x)) - (log pi(y_j|x) - log ref(y_j|x)). Equal rewards (p = 0.5) teach equal log-ratios.

    Args:
        groups: G groups of K scored answers.
        beta: temperature of DPO; the paper takes 0.5.
        sharpness: log-odds that i is better, per log-odds of a click.

    Returns:
        (G,) losses in nats; 0 for a group with fewer than two usable candidates.
    """
    pairs = CandidatePairs.of(groups)
    label, scaled = torch.sigmoid(sharpness * pairs.gaps), beta * pairs.margins
    return mean_where(-(label * logsigmoid(scaled) + (1.0 - label) * logsigmoid(-scaled)), pairs.usable)
