"""Impressions and clicks by creative, kept current from the event log: what a choice is made from and the page shows."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from caig_rl.serving.events.event_log import EventReader


@dataclass(slots=True)
class Counts:
    """Of one creative."""

    impressions: int = 0
    clicks: int = 0
    by_segment: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    """Segment -> [impressions, clicks]."""

    def of(self, segment: str) -> tuple[int, int]:
        """Impressions and clicks in one segment."""
        impressions, clicks = self.by_segment.get(segment, (0, 0))
        return impressions, clicks


class ClickCounts:
    """Counts of every creative of every tenant; `refresh` reads what the log gained. Safe to call from several threads."""

    def __init__(self, root: Path) -> None:
        self._reader = EventReader(root)
        self._counts: dict[str, Counts] = defaultdict(Counts)
        self._seen_impressions: set[str] = set()
        self._lock = threading.Lock()

    def refresh(self) -> int:
        """Read what is new; returns the number of events."""
        with self._lock:
            number = 0
            for event in self._reader.new_events():
                number += 1
                counts, one = self._counts[event.impression.creative_id], event.impression
                segment = counts.by_segment[one.segment]
                if one.nonce not in self._seen_impressions:
                    # A click whose impression was not reported proves that it was seen.
                    self._seen_impressions.add(one.nonce)
                    counts.impressions += 1
                    segment[0] += 1
                if event.kind == "click":
                    counts.clicks += 1
                    segment[1] += 1
            return number

    def of(self, creative_id: str) -> Counts:
        """Counts of one creative at the last refresh."""
        return self._counts.get(creative_id) or Counts()
