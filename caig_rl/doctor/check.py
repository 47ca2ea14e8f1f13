"""One finding of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]
"""ok: nothing to do. warn: works, but slower or not everywhere. fail: a run will not work."""


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and what was found."""

    name: str
    status: Status
    detail: str
    """What is there, in words and numbers."""
    advice: str = ""
    """What to do; empty when `status` is "ok"."""

    def __post_init__(self) -> None:
        assert bool(self.advice) == (self.status != "ok"), self
