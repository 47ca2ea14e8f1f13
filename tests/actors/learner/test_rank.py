"""What a rank hands to the library's learner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from actors.learner.rank import LearnerRank
from caig_rl.data.group_table import groups_to_table
from caig_rl.learning.preference.round_metrics import RoundMetrics
from tests.learning.pairs import make_pairs

METRICS = RoundMetrics(2, 1, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 1e-3, 0.0)


class FakePreferenceLearner:
    """Remembers what it was given."""

    def train_steps(self, *arguments: Any) -> Iterator[int]:
        self.given = arguments
        yield 1
        return METRICS


@pytest.mark.parametrize(("negative_index", "negative_views"), [([None, (1, 1)], [None, 3]), (None, [None, None])])
def test_the_pictures_are_taken_from_the_blocks_that_hold_them(
    monkeypatch: pytest.MonkeyPatch, negative_index: Any, negative_views: list[int | None]
) -> None:
    monkeypatch.setattr("actors.learner.rank.ray.get", lambda blocks: blocks)
    rank = object.__new__(LearnerRank)
    rank._learner = learner = FakePreferenceLearner()  # type: ignore[assignment]
    blocks: Any = [np.arange(2), np.arange(2, 4)]
    assert list(rank.train(groups_to_table(make_pairs(2)), blocks, [(0, 1), (1, 0)], None, negative_index)) == [1, METRICS]
    assert learner.given == (make_pairs(2), [1, 2], None, negative_views)
