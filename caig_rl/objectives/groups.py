"""What a group objective sees: K scored answers to each of G products. Candidates that are not usable have no influence on anything."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch


@dataclass(frozen=True, slots=True, eq=False)
class ScoredGroups:
    """G groups of K answers. Log-probs are sums over an answer's tokens, in nats.

    Entries of candidates that are not usable may be anything, NaN included: they are replaced at once (by 0, `num_tokens` by 1), so that
    neither their value nor their gradient goes any further.

    Raises:
        ValueError: tensors of unequal shape, a mask that is not boolean, or one of the two negatives without the other.
    """

    log_probs: torch.Tensor
    """(G, K) log pi(y | x) of the policy that learns, with gradient."""
    reference: torch.Tensor
    """(G, K) log ref(y | x), without gradient."""
    behaviour: torch.Tensor
    """(G, K) log-probs under the policy that sampled the answers, without gradient."""
    rewards: torch.Tensor
    """(G, K) log-odds of a click, shaped."""
    usable: torch.Tensor
    """(G, K) bool; False for padding and for creatives that the usability gate refused."""
    num_tokens: torch.Tensor
    """(G, K) |y|, at least 1."""
    negative_log_probs: torch.Tensor | None = None
    """(G,) log pi(y_w | x~): the best usable answer under replaced product information, with gradient; None without such negatives."""
    negative_reference: torch.Tensor | None = None
    """(G,) log ref(y_w | x~), without gradient."""
    sampled_log_ratios: torch.Tensor | None = None
    """(G, K) log pi(y | x) - log ref(y | x), with gradient, of every answer that was sampled, usable or not; 0 for padding. None: those of
    usable answers are all there are."""
    sampled: torch.Tensor | None = None
    """(G, K) bool: which entries of `sampled_log_ratios` are answers."""

    def __post_init__(self) -> None:
        if (self.negative_log_probs is None) != (self.negative_reference is None):
            raise ValueError("negative_log_probs and negative_reference come together")
        if self.usable.dtype != torch.bool or self.usable.dim() != 2:
            raise ValueError(f"usable must be bool (G, K), not {self.usable.dtype} {tuple(self.usable.shape)}")
        if (self.sampled_log_ratios is None) != (self.sampled is None):
            raise ValueError("sampled_log_ratios and sampled come together")
        for field in fields(self):
            values = getattr(self, field.name)
            if values is None or field.name in ("usable", "sampled", "sampled_log_ratios"):
                continue
            mask = self.usable.any(dim=1) if field.name.startswith("negative") else self.usable
            if values.shape != mask.shape:
                raise ValueError(f"{field.name} has shape {tuple(values.shape)}, not {tuple(mask.shape)}")
            kept = torch.where(mask, values, torch.full_like(values, 1 if field.name == "num_tokens" else 0))
            object.__setattr__(self, field.name, kept)

    @property
    def log_ratios(self) -> torch.Tensor:
        """(G, K) log pi(y|x) - log ref(y|x), with gradient; 0 where not usable."""
        return self.log_probs - self.reference

    def best(self) -> torch.Tensor:
        """(G,) int64, the usable candidate of highest reward, the first of equals; 0 where none is usable."""
        return self.rewards.masked_fill(~self.usable, -torch.inf).argmax(dim=1)

    def worst(self) -> torch.Tensor:
        """(G,) int64, the usable candidate of lowest reward, the first of equals; 0 where none is usable."""
        return self.rewards.masked_fill(~self.usable, torch.inf).argmin(dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class CandidatePairs:
    """All pairs i < j of a group's candidates, P = K (K - 1) / 2."""

    gaps: torch.Tensor
    """(G, P) reward of i less reward of j, log-odds; 0 where not both are usable."""
    margins: torch.Tensor
    """(G, P) log-ratio of i less log-ratio of j, nats, with gradient; 0 where not both are usable."""
    usable: torch.Tensor
    """(G, P) bool, whether both are usable."""

    @classmethod
    def of(cls, groups: ScoredGroups) -> CandidatePairs:
        """The pairs of each group."""
        first, second = torch.triu_indices(*[groups.usable.shape[1]] * 2, offset=1, device=groups.usable.device)
        usable = groups.usable[:, first] & groups.usable[:, second]
        gaps = groups.rewards[:, first] - groups.rewards[:, second]
        margins = groups.log_ratios[:, first] - groups.log_ratios[:, second]
        return cls(gaps.masked_fill(~usable, 0.0), margins.masked_fill(~usable, 0.0), usable)


def mean_where(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(G,) mean of `values` (G, N) over the True entries of `mask` (G, N); 0 where there are none. `values` are finite everywhere."""
    return values.masked_fill(~mask, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def picked(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """(G,) the entry `index` (G,) of each row of `values` (G, K)."""
    return values.gather(1, index[:, None])[:, 0]
