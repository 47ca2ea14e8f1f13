"""The preference buffer: a pure state machine of admissions. It owns no tasks, no refs and no files, and knows nothing of Ray.

    admit -> IN_FLIGHT -- add_pair --> READY -- take_round --> TRAINING -- weights_live --> (trained)
                 \\-- drop --> (failed | tied)     \\-- take_round, too old --> (expired)

Each admission holds one slot from `admit` to its outcome; `slots` bounds everything that is under way. The ledger hears of
every step, so its counts add up by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto

from actors.loop.state.group_selection import NoGroup
from caig_rl.runs.ledger import Ledger
from caig_rl.types import Admission, Outcome, PolicyVersion, PreferenceGroup


class State(Enum):
    """Where an admission is that has no outcome yet."""

    IN_FLIGHT = auto()
    READY = auto()
    TRAINING = auto()


def num_slots(products_per_round: int, max_staleness: int) -> int:
    """The one budget: how many admissions may be under way at once."""
    return (max_staleness + 1) * products_per_round


class PreferenceBuffer:
    """Admissions under way, and the pairs that wait for the learner."""

    def __init__(self, slots: int, max_staleness: int, ledger: Ledger, journal: Callable[[Sequence[PreferenceGroup]], None]) -> None:
        """`journal` is given the pairs as they arrive, before anything can be trained on them."""
        self.slots, self.max_staleness = slots, max_staleness
        self._ledger, self._journal = ledger, journal
        self._states: dict[int, State] = {}
        self._admissions: dict[int, Admission] = {}
        self._pairs: dict[int, PreferenceGroup] = {}
        self._issues: dict[int, tuple[int, str]] = {}

    @property
    def free_slots(self) -> int:
        """Admissions that may start now."""
        return self.slots - len(self._states)

    def counts(self) -> dict[str, int]:
        """Admissions under way by state ("in_flight", "ready", "training")."""
        held = list(self._states.values())
        return {state.name.lower(): held.count(state) for state in State}

    def admit(self, admissions: Sequence[Admission]) -> None:
        """Take a slot for each."""
        assert len(admissions) <= self.free_slots, f"{len(admissions)} admissions for {self.free_slots} free slots"
        for admission in admissions:
            self._ledger.admit(admission)
            self._hold(admission, State.IN_FLIGHT)

    def add_pairs(self, pairs: Sequence[PreferenceGroup], attempts: int = 1, worker: str = "") -> None:
        """A shard's pairs arrived, after its `attempts`-th issue; policy worker `worker` wrote the prompts."""
        self._journal(pairs)
        for pair in pairs:
            key = pair.admission.admission_id
            assert self._states.get(key) is State.IN_FLIGHT, f"a pair for admission {key}, which is {self._states.get(key)}"
            self._states[key], self._pairs[key], self._issues[key] = State.READY, pair, (attempts, worker)

    def scored(self, admission: Admission, score: float | None, guard_score: float | None) -> None:
        """The mean scores of an admission's creatives, by the reward model and by the guard, log-odds; None where there is none."""
        assert self._states.get(admission.admission_id) is State.IN_FLIGHT, f"admission {admission.admission_id} is not in flight"
        self._ledger.scored(admission.admission_id, score, guard_score)

    def drop(self, admission: Admission, why: NoGroup, *, version: PolicyVersion | None = None, attempts: int = 1) -> None:
        """An admission ended without a pair: its slot is free again."""
        assert self._states.get(admission.admission_id) is State.IN_FLIGHT, f"admission {admission.admission_id} is not in flight"
        self._ledger.finish(admission.admission_id, why.outcome, why.kind, message=why.message, version=version, attempts=attempts)
        self._release(admission.admission_id)

    def round_is_complete(self, round_number: int) -> bool:
        """True where nothing of the round is in flight any more."""
        return State.IN_FLIGHT not in {self._states[key] for key, admission in self._admissions.items() if admission.round == round_number}

    def take_round(
        self, round_number: int, current: PolicyVersion, survives: Callable[[PolicyVersion], bool] = lambda version: True
    ) -> list[PreferenceGroup]:
        """The round's pairs for the learner, in order of admission id; taking them again gives the same.

        Pairs more than `max_staleness` versions behind `current` expire, and so do those whose version no longer `survives`.
        """
        taken: list[PreferenceGroup] = []
        for key in sorted(self._pairs):
            pair = self._pairs[key]
            if pair.admission.round != round_number:
                continue
            if current.number - pair.version.number > self.max_staleness or not survives(pair.version):
                self._expire(key, f"written by version {pair.version}, and the learner is at {current}")
                continue
            self._states[key] = State.TRAINING
            taken.append(pair)
        return taken

    def weights_live(self, round_number: int, learned: PolicyVersion) -> int:
        """What was being trained has reached the policy workers as version `learned`: those admissions are trained, their slots free.

        Returns their number.
        """
        trained = [key for key, state in self._states.items() if state is State.TRAINING]
        for key in trained:
            version, (attempts, worker) = self._pairs[key].version, self._issues[key]
            self._ledger.finish(
                key, Outcome.TRAINED, version=version, attempts=attempts, worker=worker, round=round_number, learned=learned
            )
            self._release(key)
        return len(trained)

    def expire_all(self, message: str) -> None:
        """Nothing more will be learned: every admission under way expires."""
        for key in sorted(self._states):
            self._expire(key, message)

    def in_flight(self) -> list[Admission]:
        """Admissions whose rollout is under way, by id: a checkpoint keeps them, a resumed run issues them again."""
        return [self._admissions[key] for key in sorted(self._states) if self._states[key] is State.IN_FLIGHT]

    def ready(self) -> list[PreferenceGroup]:
        """Pairs that are in no live weights yet, by admission id: waiting for the learner, or being trained on."""
        return [self._pairs[key] for key in sorted(self._states) if self._states[key] is not State.IN_FLIGHT]

    def restore(self, in_flight: Sequence[Admission], ready: Sequence[PreferenceGroup]) -> None:
        """Take up a checkpoint's admissions, which its ledger holds open already. Their pairs were journalled before."""
        assert not self._states and len(in_flight) + len(ready) <= self.slots
        for admission in in_flight:
            self._hold(admission, State.IN_FLIGHT)
        for pair in ready:
            self._hold(pair.admission, State.READY)
            self._pairs[pair.admission.admission_id], self._issues[pair.admission.admission_id] = pair, (1, "")

    def _expire(self, key: int, message: str) -> None:
        pair, (attempts, worker) = self._pairs.get(key), self._issues.get(key, (1, ""))
        version = None if pair is None else pair.version
        self._ledger.finish(key, Outcome.EXPIRED, message=message, version=version, attempts=attempts, worker=worker)
        self._release(key)

    def _hold(self, admission: Admission, state: State) -> None:
        self._states[admission.admission_id], self._admissions[admission.admission_id] = state, admission

    def _release(self, key: int) -> None:
        for table in (self._states, self._admissions, self._pairs, self._issues):
            table.pop(key, None)
