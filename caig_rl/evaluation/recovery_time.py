"""How long a pipeline takes to come back to its former rate after a fault. Plain functions of times."""

from __future__ import annotations

from collections.abc import Sequence


def rate_at(done_at: Sequence[float], time: float, window_s: float) -> float:
    """Pieces of work a second over the `window_s` seconds before `time`. `done_at`: when each was done, rising, in seconds."""
    return sum(time - window_s < one <= time for one in done_at) / window_s


def recovery_s(done_at: Sequence[float], fault_at: float, window_s: float, share: float = 0.9) -> float | None:
    """Seconds from a fault until as much work was done in one window after it as in the window before it.

    Args:
        done_at: when each piece of work was done, rising, in seconds.
        fault_at: when the fault came.
        window_s: long enough to hold the pipeline's own rhythm (a round, where a run is on policy).
        share: of the former rate that counts as recovered; what is done comes in pieces, so 1 would be missed by chance.

    Returns:
        0 where the rate never fell; else the time from the fault to the first moment from which a whole window holds the former rate; None
        where it did not come back before the work ended.
    """
    former = share * rate_at(done_at, fault_at, window_s)
    last = done_at[-1] if done_at else fault_at
    starts = [fault_at, *(one for one in done_at if one > fault_at)]
    for start in starts:
        if start + window_s > last:
            return None
        if rate_at(done_at, start + window_s, window_s) >= former:
            return start - fault_at
    return None
