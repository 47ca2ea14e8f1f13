"""Which policy versions the live weights descend from. Plain.

When the learner rolls back to an older checkpoint, the versions made after it are discarded, and numbers are given out again by the next
incarnation: (0, 3) and (1, 3) may be different weights.
"""

from __future__ import annotations

from collections.abc import Iterable

from caig_rl.types import PolicyVersion


class Lineage:
    """The rollbacks of a run, oldest first.

    A checkpoint keeps them: pairs that wait in it may be of versions that were discarded before it.
    """

    def __init__(self, rollbacks: Iterable[PolicyVersion] = ()) -> None:
        self._rollbacks = list(rollbacks)

    @property
    def rollbacks(self) -> tuple[PolicyVersion, ...]:
        """What `roll_back` was given so far."""
        return tuple(self._rollbacks)

    def roll_back(self, to: PolicyVersion) -> None:
        """Incarnation `to.incarnation` begins, with the weights that number `to.number` had before."""
        self._rollbacks.append(to)

    def survives(self, version: PolicyVersion) -> bool:
        """True where `version` is one of the live weights' ancestors, or they themselves."""
        return all(version.number <= to.number for to in self._rollbacks if version.incarnation < to.incarnation)
