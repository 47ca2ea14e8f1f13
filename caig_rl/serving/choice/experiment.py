"""From the event log to an A/B comparison: one row a visitor, for one experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from caig_rl.evaluation.ab_test import Visitors
from caig_rl.serving.choice.arms import CANDIDATE


@dataclass(frozen=True, slots=True)
class Experiment:
    """One version that was tried beside the live one."""

    name: str
    visitors: Visitors
    by_category: Mapping[str, Visitors]
    left_out: int
    """Impressions of visitors after they were moved to the other arm (the traffic was raised): they belong to neither."""


def experiments(impressions: pa.Table) -> list[str]:
    """Names of the versions that were ever tried, the latest first."""
    return list(dict.fromkeys(name for name in reversed(impressions["experiment"].to_pylist()) if name))


def read_experiment(impressions: pa.Table, name: str) -> Experiment:
    """The impressions shown while version `name` was tried, in order of time, by visitor. A visitor stays in the arm they were first in.

    Args:
        impressions: `caig_rl.serving.events.click_log.IMPRESSION_SCHEMA`, by time.
        name: of the version.
    """
    rows = impressions.filter(pc.equal(impressions["experiment"], name))
    tenants, ids = rows["tenant"].to_pylist(), rows["visitor"].to_pylist()
    numbers: dict[tuple[str, str], int] = {}
    index = np.array([numbers.setdefault(key, len(numbers)) for key in zip(tenants, ids, strict=True)], dtype=np.int64)
    tried = np.array([arm == CANDIDATE for arm in rows["arm"].to_pylist()], dtype=bool)
    share = rows["arm_share"].to_numpy()
    first = np.unique(index, return_index=True)[1]
    kept = tried == tried[first][index] if len(index) else tried
    clicked = rows["clicked"].to_numpy(zero_copy_only=False).astype(np.float64)
    candidate_share = np.where(tried, share, 1.0 - share)[first]

    def totals(chosen: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        length = len(numbers)
        shown = np.bincount(index[chosen], minlength=length).astype(np.float64)
        return shown, np.bincount(index[chosen], weights=clicked[chosen], minlength=length).astype(np.float64)

    everyone = Visitors(tried[first], candidate_share, *totals(kept))
    categories = np.array(rows["category"].to_pylist(), dtype=object)
    parts = {str(one): everyone.part(*totals(kept & (categories == one))) for one in sorted(set(categories.tolist()))}
    return Experiment(name, everyone, parts, int((~kept).sum()))
