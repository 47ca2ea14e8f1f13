"""What a run knows of its rounds and admissions: plain state, without Ray calls, tasks or a clock. A checkpoint holds all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.checkpoints.store import SavedState
from actors.loop.state.admission import ProductCursor, admit_round
from actors.loop.state.group_journal import GroupJournal
from actors.loop.state.preference_buffer import PreferenceBuffer, num_slots
from actors.loop.state.rollout_intake import RolloutIntake
from actors.loop.state.version_lineage import Lineage
from actors.rollout.shard import Shard, regroup
from actors.telemetry.round_totals import RoundTotals
from caig_rl.config.schema import Config
from caig_rl.learning.preference.negatives import NegativeSampler
from caig_rl.runs.ledger import Ledger
from caig_rl.segments import EVERYBODY, Shares
from caig_rl.types import PolicyVersion, PreferenceGroup, Product


class RunState:
    """Where the run is: rounds, version, cursor, buffer and ledger."""

    def __init__(
        self, config: Config, products: Sequence[Product], ledger: Ledger, journal: GroupJournal, segments: Shares = EVERYBODY
    ) -> None:
        """`products`: all training products, in their fixed order; `segments`: of the shoppers that they are shown to."""
        self._config, self.products, self._journal, self._segments = config, list(products), journal, segments
        self.by_id = {product.product_id: product for product in self.products}
        self.round_size = min(config.rollout.products_per_round, len(self.products))
        self.version, self.lineage = PolicyVersion(0, 0), Lineage()
        self.rounds_planned, self.rounds_done, self.rounds_admitted = config.rollout.rounds, 0, 0
        self._next_id = self._incarnation = 0
        self._negatives = NegativeSampler(self.products, config.learner.negatives)
        self._cursor = ProductCursor(len(self.products), config.run.seed)
        self._unwritten: dict[int, set[str]] = {}
        self._open(ledger)

    def end_after(self, rounds: int) -> None:
        """The run has fewer rounds than planned: no later one is admitted or learned."""
        self.rounds_planned = min(self.rounds_planned, rounds)

    def is_beyond_the_end(self, number: int) -> bool:
        """True where the run has no round `number`."""
        return number >= self.rounds_planned

    def may_admit(self, number: int) -> bool:
        """True where round `number` may start: not too far ahead, and a round's worth of slots is free."""
        return number <= self.rounds_done + self._config.rollout.max_staleness and self.buffer.free_slots >= self.round_size

    def can_learn(self, number: int) -> bool:
        """True where round `number` was admitted and nothing of it is in flight."""
        return self.rounds_admitted > number and self.buffer.round_is_complete(number)

    def prompts_written(self, last: int) -> bool:
        """True where every round up to `last` (at most the run's last) was admitted and has its prompts."""
        last = min(last, self.rounds_planned - 1)
        return self.rounds_admitted > last and not any(names for number, names in self._unwritten.items() if number <= last)

    def admit_next(self) -> list[Shard]:
        """Admit the next round's products: its shards, to be rolled out."""
        number, size, seed = self.rounds_admitted, self._config.rollout.shard_size, self._config.run.seed
        shards = admit_round(self.products, self._cursor, number, self._next_id, self.round_size, size, seed, self._segments)
        self._next_id += self.round_size
        self.buffer.admit([admission for shard in shards for admission in shard.admissions])
        self.rounds_admitted = number + 1
        return shards

    def shards_in_flight(self, number: int) -> list[Shard]:
        """The shards of a restored round that are to be rolled out again."""
        shards = regroup(self.buffer.in_flight(), self.by_id, self.round_size, self._config.rollout.shard_size)
        return [shard for shard in shards if shard.admissions[0].round == number]

    def open_round(self, number: int, shards: Sequence[Shard]) -> None:
        """`shards` of the round are about to be rolled out."""
        self.intake.open_round(number)
        self._unwritten[number] = {shard.name for shard in shards}

    def written(self, number: int, shard: Shard) -> None:
        """The shard's prompts are there, or never will be."""
        self._unwritten[number].discard(shard.name)

    def take_pairs(self, number: int) -> list[PreferenceGroup]:
        """What round `number` has to teach; the rest of it has its outcome. Taking it again gives the same, less what has expired since."""
        return self.buffer.take_round(number, self.version, self.lineage.survives)

    def keep_shaped(self, groups: Sequence[PreferenceGroup]) -> None:
        """The journal keeps the rewards that the round is learned with, so that it can be learned again with the same."""
        if any(group.shaped for group in groups):
            self._journal(groups)

    def next_incarnation(self) -> int:
        """A number for the learner that is being re-formed, also where the one before it was lost again before it was of any use."""
        self._incarnation = max(self._incarnation, self.version.incarnation) + 1
        return self._incarnation

    def roll_back(self, incarnation: int, to: int) -> None:
        """The learner began `incarnation` with the weights that number `to` had; numbers go on from the rounds done."""
        self.lineage.roll_back(PolicyVersion(incarnation, to))
        self.version = PolicyVersion(incarnation, self.rounds_done)

    def weights_live(self, number: int) -> None:
        """The weights that learned from round `number` reached every policy worker: its pairs are trained."""
        self.buffer.weights_live(number, self.version)
        self.rounds_done = number + 1

    def expire_rest(self, message: str) -> None:
        """The run ends: admissions of rounds that it does not learn expire. `message` says why."""
        self.buffer.expire_all(message)

    def close_round(self, number: int) -> RoundTotals:
        """The round is learned and live: what its shards came to."""
        self._unwritten.pop(number)
        self.intake.keep_views_of(self.buffer.ready())
        self._journal.forget_before(number)
        return self.intake.totals.pop(number)

    def state(self, extra: dict[str, Any]) -> SavedState:
        """A snapshot, valid whenever the learner holds the weights of `rounds_done`. Rollout may run on meanwhile: the ledger is copied."""
        return SavedState(
            rounds_done=self.rounds_done,
            rounds_admitted=self.rounds_admitted,
            version=self.version,
            next_admission_id=self._next_id,
            cursor_position=self._cursor.position,
            in_flight=tuple(self.buffer.in_flight()),
            ready=tuple(self.buffer.ready()),
            ledger=Ledger.from_table(self.ledger.to_table()),
            extra=extra
            | {
                "notes": {str(number): totals.to_json() for number, totals in self.intake.totals.items()},
                "falls": [[to.incarnation, to.number] for to in self.lineage.rollbacks],
            },
        )

    def restore(self, state: SavedState) -> None:
        """Take up a checkpoint. Its incarnation ends here: what was trained after it was written is trained anew."""
        self._open(state.ledger)
        self.buffer.restore(state.in_flight, state.ready)
        self._journal.keep(state.ready)
        self.intake.totals = {int(number): RoundTotals.from_json(totals) for number, totals in state.extra["notes"].items()}
        # Runs of earlier versions kept no rollbacks; most had none.
        self.lineage = Lineage(PolicyVersion(*to) for to in state.extra.get("falls", ()))
        self.version = PolicyVersion(state.version.incarnation + 1, state.version.number)
        self.rounds_done, self.rounds_admitted, self._next_id = state.rounds_done, state.rounds_admitted, state.next_admission_id
        self._cursor.position = state.cursor_position

    def _open(self, ledger: Ledger) -> None:
        staleness = self._config.rollout.max_staleness
        self.ledger = ledger
        self.buffer = PreferenceBuffer(num_slots(self.round_size, staleness), staleness, ledger, self._journal)
        self.intake = RolloutIntake(self._negatives, self.buffer, self._config.reward.margin)
