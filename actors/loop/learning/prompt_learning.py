"""The prompt model of a run beside the learner: screens what is painted, and shapes the rewards of what was. Plain: no Ray calls.

The model after n rounds belongs to the policy version of n rounds: prompts that this version wrote are screened by this model, whatever the
timing. It is told each round once, when the round is learned, so telling the journal's rounds again gives the same model.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from actors.rollout.shard import Shard, Stream
from actors.rollout.worker_replies import PolicyReply
from caig_rl.config.schema import Config
from caig_rl.prompt_model.effects import PromptEffects
from caig_rl.prompt_model.kinds import ProductKinds
from caig_rl.prompt_model.model import PromptModel, ScoredPrompts
from caig_rl.prompt_model.screening import screen
from caig_rl.prompt_model.settings import resolved_settings
from caig_rl.prompt_model.shaping import shape_rewards
from caig_rl.segments import EVERYBODY, Shares
from caig_rl.types import PreferenceGroup, Product, RolloutGroup

logger = logging.getLogger(__name__)

_KEPT_VERSIONS = 3
"""Models of the newest versions: at a staleness of 1 two of them write prompts at once."""


class PromptLearning:
    """One prompt model, and its state at each of the newest policy versions."""

    def __init__(self, config: Config, products: Sequence[Product], note: Callable[[str], None], segments: Shares = EVERYBODY) -> None:
        """`products`: all training products; `note` is told where the model is not trusted; `segments`: of the shoppers."""
        self.settings, self._note = resolved_settings(config), note
        self._products = {product.product_id: product for product in products}
        self._model = PromptModel(ProductKinds.of(products), self.settings.min_correlation, segments=segments)
        self._rounds_told = 0
        self._after: dict[int, PromptModel] = {0: copy.copy(self._model)}
        self._said_untrusted = False

    @property
    def is_used(self) -> bool:
        """False where nothing in the configuration asks for the model: then it is not fitted."""
        return self.settings.shapes or (self.settings.screens and self.settings.screening != "first")

    def metrics(self) -> Mapping[str, float]:
        """Numbers for the round's row; empty where the model is not used."""
        return self._model.metrics() if self.is_used else {}

    def screened(self, shard: Shard, reply: PolicyReply) -> PolicyReply:
        """The reply with the prompts of each product that are to be painted, best first."""
        model = self._after[max(number for number in self._after if number <= reply.version.number)]
        seeds = shard.seeds(Stream.SCREENING)
        groups = [
            None if group is None else self._screened(model, product, group, seed)
            for group, product, seed in zip(reply.groups, shard.products, seeds, strict=True)
        ]
        return replace(reply, groups=tuple(groups))

    def learn(self, number: int, groups: Sequence[PreferenceGroup]) -> list[PreferenceGroup]:
        """Round `number`'s groups, in order of admission, with shaped rewards. The first time, the model learns from them too."""
        if not self.is_used:
            return list(groups)
        if number >= self._rounds_told:
            self._tell(number, groups)
        if not self.settings.shapes:
            return list(groups)
        effects = self._model.effects() if self._model.trusted else None
        return [self._shaped(group, effects) for group in groups]

    def restore(self, rounds: Sequence[tuple[int, Sequence[PreferenceGroup]]], rounds_done: int) -> None:
        """Learn again from the rounds that a checkpoint counts as done: (number, its trained groups in order of admission), rising."""
        for number, groups in rounds if self.is_used else ():
            self._tell(number, groups)
        self._rounds_told = rounds_done
        self._after[rounds_done] = copy.copy(self._model)

    def _tell(self, number: int, groups: Sequence[PreferenceGroup]) -> None:
        self._model.tell([self._prompts(group) for group in groups])
        self._rounds_told = number + 1
        # The posterior is replaced, not changed, by the next round: a shallow copy keeps this one.
        self._after[number + 1] = copy.copy(self._model)
        for old in sorted(self._after)[:-_KEPT_VERSIONS]:
            del self._after[old]
        self._say_whether_trusted(number)

    def _say_whether_trusted(self, number: int) -> None:
        if self._model.trusted:
            self._said_untrusted = False
        elif not self._said_untrusted:
            self._said_untrusted = True
            score = self._model.score
            found = "too few creatives to tell" if score is None else f"held-out correlation {score.pearson:.2f}"
            self._note(f"the prompt model is not used after round {number + 1}: {found} (prompt_model.min_correlation)")

    def _prompts(self, group: PreferenceGroup) -> ScoredPrompts:
        product = self._products[group.admission.product_id].shown_to(group.admission.segment)
        return ScoredPrompts(product, tuple(candidate.text for candidate in group.candidates), group.scores)

    def _shaped(self, group: PreferenceGroup, effects: PromptEffects | None) -> PreferenceGroup:
        prompts, settings = self._prompts(group), self.settings
        shaped = shape_rewards(effects, prompts.product, prompts.texts, prompts.rewards, settings.model_share, settings.product_share)
        return replace(group, shaped=shaped.shaped)

    def _screened(self, model: PromptModel, product: Product, group: RolloutGroup, seed: int) -> RolloutGroup:
        settings, texts = self.settings, [rollout.text for rollout in group.rollouts]
        rng = np.random.default_rng(seed)
        chosen = screen(settings.screening, model, product, texts, settings.painted, settings.product_share, rng)
        return replace(group, rollouts=tuple(group.rollouts[index] for index in chosen))
