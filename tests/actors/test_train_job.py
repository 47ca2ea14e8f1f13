"""What a training job reckons with before it runs."""

from __future__ import annotations

import pytest

from actors.train_jobs.job import rows_per_rank, steps_per_epoch


@pytest.mark.parametrize(("rows", "ranks", "batch"), [(100, 1, 16), (96, 1, 16), (3, 1, 16), (101, 2, 8), (7, 2, 16), (5, 4, 2)])
def test_the_schedule_is_as_long_as_the_batches_that_a_rank_gets(rows: int, ranks: int, batch: int):
    own = list(range(rows // ranks))
    batches = [own[start : start + rows_per_rank(batch, ranks)] for start in range(0, len(own), rows_per_rank(batch, ranks))]
    assert steps_per_epoch(rows, ranks, batch) == len(batches) > 0
