"""What was broken, when, and what became of it, over all lives of a run. Plain: a list with a clock, kept in the run folder."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from actors.chaos.fault_plan import FaultKind

FAULT_RECORDS_FILE = "chaos.json"


@dataclass(slots=True)
class FaultRecord:
    """One fault that was injected."""

    kind: FaultKind
    victim: str
    life: int
    at: float
    """Unix time."""
    outcome: str = ""
    """What became of it; empty while nobody has seen that."""
    after_s: float | None = None
    """From the fault to its outcome."""


@dataclass(slots=True)
class FaultRecords:
    """All faults of a run."""

    keep: Callable[[str], object] = lambda text: None
    """Is given all records as JSON whenever they change, before anything else happens: a killed driver writes no last word."""
    clock: Callable[[], float] = time.time
    lives: int = 0
    """Lives of the run that have begun."""
    faults: list[FaultRecord] = field(default_factory=list)
    misses: dict[FaultKind, str] = field(default_factory=dict)
    """Of kinds that could not be injected the last time that they were due: why."""

    @classmethod
    def from_json(cls, text: str, keep: Callable[[str], object], clock: Callable[[], float] = time.time) -> FaultRecords:
        """Go on with what `keep` was given in an earlier life."""
        content = json.loads(text)
        faults = [FaultRecord(**one | {"kind": FaultKind(one["kind"])}) for one in content["faults"]]
        return cls(keep, clock, content["lives"], faults, {FaultKind(kind): why for kind, why in content["misses"].items()})

    def to_json(self) -> str:
        """For `from_json`."""
        return json.dumps({"lives": self.lives, "faults": [asdict(one) for one in self.faults], "misses": self.misses}, indent=1) + "\n"

    def begin_life(self) -> None:
        """Another process takes the run up, from its newest checkpoint: that is the outcome of what the one before left open."""
        self.lives += 1
        for fault in self.faults:
            if fault.outcome:
                continue
            is_driver = fault.kind is FaultKind.DRIVER
            self._settle(fault, f"taken up in life {self.lives}" if is_driver else "ended with the driver")
        self.keep(self.to_json())

    def add(self, kind: FaultKind, victim: str) -> FaultRecord:
        """A fault is about to be injected."""
        fault = FaultRecord(kind, victim, self.lives, self.clock())
        self.faults.append(fault)
        self.misses.pop(kind, None)
        self.keep(self.to_json())
        return fault

    def settle(self, fault: FaultRecord, outcome: str) -> None:
        """It was seen what became of the fault."""
        self._settle(fault, outcome)
        self.keep(self.to_json())

    def missed(self, kind: FaultKind, why: str) -> None:
        """A fault was due and could not be injected."""
        self.misses[kind] = why
        self.keep(self.to_json())

    def counts(self) -> Counter[FaultKind]:
        """Faults injected, by kind."""
        return Counter(fault.kind for fault in self.faults)

    def never(self, kinds: Sequence[FaultKind]) -> list[str]:
        """A line for each of `kinds` that was never injected, with the reason."""
        counts = self.counts()
        due = "the plan had none due before the run ended: a longer run, or a shorter --every"
        return [f"{kind}: {self.misses.get(kind, due)}" for kind in dict.fromkeys(kinds) if not counts[kind]]

    def _settle(self, fault: FaultRecord, outcome: str) -> None:
        fault.outcome, fault.after_s = outcome, self.clock() - fault.at
