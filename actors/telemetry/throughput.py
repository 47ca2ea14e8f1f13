"""How many pairs, pictures and tokens came through."""

from __future__ import annotations

from collections import Counter

from caig_rl.runs.summary import ThroughputSummary


class Throughput:
    """Counts what came out of the stages during training and evaluation."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, *, pairs: int = 0, images: int = 0, tokens: int = 0) -> None:
        """More of each."""
        self.counts.update({"pairs": pairs, "images": images, "tokens": tokens})

    def summary(self, total_s: float) -> ThroughputSummary:
        """Rates over the whole run."""
        return ThroughputSummary(**{f"{name}_per_s": self.counts[name] / total_s for name in ("pairs", "images", "tokens")})
