"""One piece of fault handling that can be removed, and the test that must notice. `tests.without_handling` does it.

Each removal is the smallest change that leaves the program whole and the fault unhandled: it is what a careless edit could do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Removal:
    """One piece of handling, gone."""

    fault: str
    """A `FaultKind`, or "poison", "sigterm", "expired"."""
    what: str
    """The handling, in words."""
    file: str
    """In the repository."""
    old: str
    """Found in `file` exactly once."""
    new: str
    """In the place of `old`."""
    test: str
    """Node id of the test that notices, in `tests/`."""
    limit_s: int = 120
    """Longest time for the test, which includes Ray's start. Longer than that is a hang."""

    def applied(self, root: Path) -> str:
        """The text of `file` under `root`, without the handling.

        Raises:
            ValueError: `old` is not there exactly once, or what is left is no Python.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        found = text.count(self.old)
        if found != 1:
            raise ValueError(f"{self.file} holds the handling of {self.fault!r} ({self.what}) {found} times, not once: {self.old!r}")
        changed = text.replace(self.old, self.new)
        try:
            compile(changed, self.file, "exec")
        except SyntaxError as error:
            raise ValueError(f"{self.file} without its handling of {self.fault!r} ({self.what}) is no Python: {error}") from error
        return changed
