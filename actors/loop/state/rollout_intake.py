"""Where a rolled-out shard becomes pairs in the buffer, and every admission without a pair gets its outcome. Plain: no Ray calls."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from actors.loop.state.group_selection import NoGroup, select_group
from actors.loop.state.preference_buffer import PreferenceBuffer
from actors.rollout.rolled_out import RolledOut, ShardPoisoned
from actors.rollout.shard import Shard
from actors.rollout.worker_replies import RenderReply
from actors.telemetry.round_totals import RoundTotals
from caig_rl.learning.preference.negatives import NegativeSampler
from caig_rl.runs.summary import CreativeCounts
from caig_rl.types import Admission, Outcome, PreferenceGroup

logger = logging.getLogger(__name__)


class RolloutIntake:
    """The totals of each round, and where the learner finds the picture of each pair that waits."""

    def __init__(self, negatives: NegativeSampler, buffer: PreferenceBuffer, margin: float) -> None:
        """`negatives` draws from all training products; `margin`: `reward.margin`."""
        self._negatives, self._buffer, self._margin = negatives, buffer, margin
        self.totals: dict[int, RoundTotals] = {}
        self._views: dict[int, tuple[Any, int]] = {}

    def open_round(self, number: int) -> None:
        """Before the round's first shard."""
        self.totals.setdefault(number, RoundTotals([], [], []))

    def take_up(self, rolled: RolledOut) -> int:
        """Pairs into the buffer, everything else to its outcome. Returns the number of pairs."""
        totals = self.totals[rolled.shard.admissions[0].round]
        pairs: list[PreferenceGroup] = []
        for index in range(len(rolled.shard.admissions)):
            made = self._outcome(rolled, index, totals)
            if isinstance(made, PreferenceGroup):
                pairs.append(made)
                self._views[made.admission.admission_id] = (rolled.views, index)
            else:
                self._drop(rolled.shard.admissions[index], made, rolled.attempts)
        self._buffer.add_pairs(pairs, rolled.attempts, rolled.worker)
        totals.pairs += len(pairs)
        totals.negatives.update(str(pair.negative) for pair in pairs)
        totals.truncated += rolled.render.truncated
        totals.creatives = totals.creatives.plus(gate_counts(rolled.render))
        return len(pairs)

    def drop_shard(self, shard: Shard, poisoned: ShardPoisoned) -> None:
        """All products of a poisoned shard failed: kind "poison", or named for the stage where it last did."""
        logger.error("%s", poisoned)
        for admission in shard.admissions:
            self._drop(admission, NoGroup(Outcome.FAILED, poisoned.kind, str(poisoned)), poisoned.attempts)

    def views_of(self, pairs: Sequence[PreferenceGroup]) -> tuple[list[Any], list[tuple[int, int]]] | None:
        """The blocks' references, each once, and for each pair (block, row). None where the picture of one is not at hand."""
        places = [self._views.get(pair.admission.admission_id) for pair in pairs]
        found = [place for place in places if place is not None]
        if len(found) < len(places):
            return None
        blocks: dict[Any, int] = {}
        index = [(blocks.setdefault(ref, len(blocks)), row) for ref, row in found]
        return list(blocks), index

    def keep_views_of(self, pairs: Sequence[PreferenceGroup]) -> None:
        """Forget the pictures of all others, which are not needed any more, or are lost."""
        wanted = {pair.admission.admission_id for pair in pairs}
        self._views = {key: place for key, place in self._views.items() if key in wanted}

    def _outcome(self, rolled: RolledOut, index: int, totals: RoundTotals) -> PreferenceGroup | NoGroup:
        group = rolled.policy.groups[index]
        if group is None:
            return NoGroup(Outcome.FAILED, "bad_text", rolled.policy.refused[index])
        totals.prompts += [rollout.text for rollout in group.rollouts]
        if index in rolled.score.failed:
            return NoGroup(Outcome.FAILED, "no_reward", rolled.score.failed[index])
        scores, guard_scores = rolled.score.scores[index], rolled.score.guard_of(index)
        totals.scores += scores
        self._buffer.scored(group.admission, _mean_score(scores), _mean_score(guard_scores))
        reasons = [report.reason for report in rolled.render.reports[index]]
        return select_group(group, scores, reasons, rolled.shard.products[index], self._negatives, self._margin, guard_scores)

    def _drop(self, admission: Admission, why: NoGroup, attempts: int) -> None:
        totals = self.totals[admission.round]
        if why.outcome is Outcome.TIED:
            totals.tied += 1
        else:
            facts = {"admissions": [admission.admission_id], "product": admission.product_id}
            logger.warning("product %s failed (%s): %s", admission.product_id, why.kind, why.message, extra=facts)
            totals.failed += 1
            totals.first_failure = totals.first_failure or f"{admission.product_id} ({why.kind}): {why.message}"
        self._buffer.drop(admission, why, attempts=attempts)


def _mean_score(scores: Sequence[float]) -> float | None:
    """Of the creatives that have a score; None where none has."""
    found = [score for score in scores if math.isfinite(score)]
    return float(np.mean(found)) if found else None


def gate_counts(render: RenderReply) -> CreativeCounts:
    """What the usability gate said of one shard's creatives."""
    reports = [report for row in render.reports for report in row]
    return CreativeCounts(
        painted=len(reports),
        refused=dict(Counter(report.reason for report in reports if not report.usable)),
        product_difference=max((report.product_difference for report in reports), default=None),
    )
