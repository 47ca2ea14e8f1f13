"""One round of pairs becomes optimiser steps on the learner group: its Arrow batch, the products' pictures, the negatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import ray

from actors.learner.group import LearnerGroup
from actors.loop.learning.negative_pictures import NegativePictures, load_negative_pictures
from actors.loop.learning.product_views import load_views
from actors.loop.state.group_selection import official_negatives
from actors.loop.state.run_state import RunState
from actors.rollout.shard import Stream, derived_seed
from actors.rollout.short_tasks import load_products
from caig_rl.config.schema import Config
from caig_rl.data.group_table import groups_from_table, groups_to_table
from caig_rl.errors import CheckpointError
from caig_rl.learning.preference.round_metrics import RoundMetrics
from caig_rl.objectives.registry import has_negatives
from caig_rl.runs.folder import RunFolder
from caig_rl.types import PreferenceGroup


class RoundTraining:
    """Gives rounds to the learner group, from memory or from the journal."""

    def __init__(self, config: Config, run_state: RunState, group: LearnerGroup, folder: RunFolder, source: ray.ObjectRef) -> None:
        """`folder` holds the journal; `source` refers to the ProductSource."""
        self._config, self._run_state, self._group, self._folder, self._source = config, run_state, group, folder, source

    async def train(self, groups: Sequence[PreferenceGroup]) -> RoundMetrics:
        """Optimiser steps over a round's `groups`, in order of admission, and over those of former rounds that are replayed with them.

        Raises:
            LearnerLost: a rank is gone.
            CheckpointError: the journal lacks a group that is to be replayed.
        """
        negatives, rows = None, [*groups, *self.replayed(groups[0].admission.round, len(groups))]
        if self._config.objective == "pcpo_official":
            rows, negatives = official_negatives(rows, self._run_state.by_id)
        pictures = await self._negative_pictures(rows)
        blocks, places = self._views(pictures.groups)
        negative_places = [None if place is None else (len(blocks) + place[0], place[1]) for place in pictures.places]
        table = ray.put(groups_to_table(pictures.groups))
        return await self._group.train(table, [*blocks, *pictures.blocks], places, negatives, negative_places)

    def replayed(self, number: int, num_groups: int) -> list[PreferenceGroup]:
        """What is learned again with round `number` of `num_groups` groups: drawn by the run's seed, so the same whenever it is asked."""
        learner, trained = self._config.learner, self._run_state.ledger.trained_by_round()
        if not learner.replay:
            return []
        former = [(one, trained[one]) for one in range(max(0, number - learner.replay_rounds), number) if one in trained]
        groups = [group for one, admission_ids in former for group in self.journalled(one, admission_ids)]
        rng = np.random.default_rng(derived_seed(Stream.REPLAY, self._config.run.seed, number))
        drawn = rng.permutation(len(groups))[: round(learner.replay * num_groups)]
        return [groups[index] for index in sorted(drawn)]

    def journalled(self, number: int, admission_ids: Sequence[int]) -> list[PreferenceGroup]:
        """The pairs of these admissions of round `number`, in their order, from the journal.

        Raises:
            CheckpointError: the journal lacks one of them.
        """
        name = f"pairs/round-{number:05d}.parquet"
        rows = groups_from_table(self._folder.read_table(name)) if self._folder.exists(name) else []
        found = {pair.admission.admission_id: pair for pair in rows}
        missing = [one for one in admission_ids if one not in found]
        if missing:
            raise CheckpointError(
                f"{self._folder.path(name)} lacks {len(missing)} pairs that are to be trained again, the first of admission {missing[0]}. "
                "Put the file back and go on by --resume, or start anew under another run.name."
            )
        return [found[one] for one in admission_ids]

    async def _negative_pictures(self, groups: Sequence[PreferenceGroup]) -> NegativePictures:
        if not has_negatives(self._config):
            return NegativePictures(list(groups), [], [None] * len(groups))
        return await load_negative_pictures(groups, self._load_views, self._config.rollout.shard_size)

    async def _load_views(self, product_ids: Sequence[str]) -> ray.ObjectRef:
        loaded, _, views = load_products.remote(self._source, list(product_ids), self._config.policy.image_size)
        await loaded
        return views

    def _views(self, pairs: Sequence[PreferenceGroup]) -> tuple[list[ray.ObjectRef], list[tuple[int, int]]]:
        """The blocks with the products' pictures, as the policy saw them, and for each pair its (block, row)."""
        kept = self._run_state.intake.views_of(pairs)
        if kept is not None:
            return kept
        # Rolled out in another life, or lost with a node: loaded again, they have the same pixels.
        return load_views(self._config, self._source, [pair.admission.product_id for pair in pairs])
