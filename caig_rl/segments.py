"""Segments of shoppers: which there are and how many shoppers each has, how a text names one, and which one an admission is for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from caig_rl.config.schema import Config
from caig_rl.errors import ConfigError
from caig_rl.interfaces import Judge, SegmentJudge

Shares = Mapping[str, float]
"""Segment -> its share of the shoppers. The shares add up to 1."""
EVERYBODY: Shares = {}
"""Shoppers are not told apart."""


def naming(segment: str) -> str:
    """What a text about a product ends with where it is shown to `segment`, the same in all texts; empty for everybody."""
    return f" Shoppers: {segment}." if segment else ""


def segment_shares(config: Config, judge: Judge | None) -> Shares:
    """The segments that `config` names. Their shares are those of the judge's shoppers, scaled to add up to 1; equal where nobody knows.

    Raises:
        ConfigError: a segment that the judge's shoppers do not have: its clicks could not be measured.
    """
    names = config.segments.names
    known = judge.segment_shares if isinstance(judge, SegmentJudge) else dict.fromkeys(names, 1.0)
    for name in names:
        if name not in known:
            raise ConfigError(
                f"segments.names: the shoppers that judge have no segment {name!r}; theirs are {', '.join(known)}. "
                "Name those, or let nobody judge: world.judge=false"
            )
    total = sum(known[name] for name in names)
    return {name: known[name] / total for name in names}


def drawn_segment(shares: Shares, seed: int) -> str:
    """One segment, drawn by the shares from `seed`; empty where shoppers are not told apart."""
    if not shares:
        return ""
    names = list(shares)
    reached = int(np.searchsorted(np.cumsum(list(shares.values())), np.random.default_rng(seed).random(), side="right"))
    # The sum of the shares may end a rounding error below 1.
    return names[min(reached, len(names) - 1)]
