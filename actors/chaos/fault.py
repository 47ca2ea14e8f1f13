"""What every injected fault has: a target, and a way to see what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class NoTarget(Exception):
    """There is no victim now. The message says why."""


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """What was broken."""

    what: str
    outcome: Callable[[], str]
    """What became of it, in words; empty while that cannot be seen yet."""
