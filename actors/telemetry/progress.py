"""What the loop tells a progress display. The loop itself prints nothing."""

from __future__ import annotations

from typing import Protocol

from caig_rl.runs.summary import RoundDetail


class Progress(Protocol):
    """A progress display. Methods are called from the loop and must return at once."""

    def phase(self, name: str, total: int) -> None:
        """A new phase ("starting", "evaluating", "round 3 of 6") of `total` products begins."""

    def advanced(self, stage: str, count: int) -> None:
        """`count` more products passed `stage` ("policy", "render", "score", "learn") in this phase."""

    def round_ended(self, detail: RoundDetail) -> None:
        """A round's numbers are in."""

    def note(self, text: str) -> None:
        """Something a person should read: a long wait, a skipped checkpoint, a written file."""


class Silent:
    """Shows nothing."""

    def phase(self, name: str, total: int) -> None:
        """See `Progress`."""

    def advanced(self, stage: str, count: int) -> None:
        """See `Progress`."""

    def round_ended(self, detail: RoundDetail) -> None:
        """See `Progress`."""

    def note(self, text: str) -> None:
        """See `Progress`."""
