"""The guard of a run: which of its versions is best by a second reward model, whether the run ends early, and which version it gives out.

    round r's creatives are scored -> the verdict after r + 1 rounds -> turned: no round after r (`guard.stop`), and the result is the best

All of it is a function of the ledger, which a checkpoint holds, so a resumed run decides as the undisturbed one does. At a staleness of s,
round r is written by version r - s, or the initial one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import numpy as np

from actors.checkpoints.store import CheckpointStore
from actors.loop.state.run_state import RunState
from caig_rl.config.schema import Config
from caig_rl.evaluation.guard import GuardedRound, GuardVerdict, judge_versions
from caig_rl.runs.result import GuardSummary, ResultSummary, last_version, policy_folder

ENDED = "the guard ended the run before this was learned"
"""What becomes of admissions of rounds that the run does not come to."""


class GuardWatch:
    """Watches the rounds of one run; without a guard it says nothing."""

    def __init__(self, config: Config, run_state: RunState, store: CheckpointStore, note: Callable[[str], None]) -> None:
        """`note` is told when the guard has turned, and where its best version is lost."""
        self._config, self._run_state, self._store, self._note = config, run_state, store, note

    @property
    def is_on(self) -> bool:
        """True where the config names a guard."""
        return self._config.guard.reward is not None

    @property
    def ended_the_run(self) -> bool:
        """True where the run has fewer rounds than planned."""
        return self._run_state.rounds_planned < self._config.rollout.rounds

    def verdict(self, num_rounds: int) -> GuardVerdict | None:
        """What the guard says of the first `num_rounds` rounds, all of whose creatives are scored; None where it has scored none.

        A round in which it scored fewer than two products says nothing.
        """
        if not self.is_on:
            return None
        staleness = self._config.rollout.max_staleness
        rounds = [
            GuardedRound(
                max(0, number - staleness),
                {name: score for name, (score, _) in scores.items()},
                {name: guard_score for name, (_, guard_score) in scores.items()},
            )
            for number, scores in self._run_state.ledger.guarded_rounds(num_rounds).items()
            if len(scores) >= 2
        ]
        return judge_versions(rounds)

    def score_of(self, number: int) -> float | None:
        """The guard's mean of round `number`, products counting alike; None where it scored nothing."""
        scores = [guard_score for _, guard_score in self._run_state.ledger.guarded_rounds(number + 1)[number].values()]
        return float(np.mean(scores)) if scores else None

    def look(self, num_rounds: int) -> None:
        """All creatives of the first `num_rounds` rounds are scored: where the guard has turned, say so, and end the run after them."""
        verdict = self.verdict(num_rounds)
        if verdict is None or not verdict.turned:
            return
        if self._config.guard.stop:
            self._run_state.end_after(num_rounds)
        end = f"the run ends after round {num_rounds}" if self._config.guard.stop else "the run goes on (guard.stop)"
        self._note(f"the guard has turned: {_fall(verdict)}; {end}")

    def kept_steps(self) -> Collection[int]:
        """Checkpoints that must stay after the rounds done: the best version's, and those that no round's creatives have measured yet."""
        if not self.is_on:
            return ()
        done = self._run_state.rounds_done
        verdict = self.verdict(done)
        unmeasured = range(max(0, done - self._config.rollout.max_staleness), done + 1)
        return {*unmeasured, *(() if verdict is None else (verdict.best.version,))}

    async def result(self) -> ResultSummary:
        """The version that the run gives out, after its last round."""
        done, verdict = self._run_state.rounds_done, self.verdict(self._run_state.rounds_done)
        last = str(self._run_state.version)
        if verdict is None or not verdict.turned:
            why = "the guard had not turned" if self.is_on else "no guard compared it with others"
            return last_version(last, done, f"the last version: {why}")
        best = verdict.best.version
        fault = await asyncio.to_thread(self._store.fault, best)
        if fault is not None:
            self._note(f"the guard's best version is lost: checkpoint {self._store.url(best)} {fault}; the result is the last version")
            return last_version(last, done, f"the last version: the checkpoint of the guard's best, number {best}, is lost", by="fallback")
        version = str(self._store.read(best).version)
        why = f"the guard's best version: {_fall(verdict)}"
        return ResultSummary(version=version, rounds=best, policy=policy_folder(best), by="guard", why=why)

    def summary(self) -> GuardSummary | None:
        """`guard` of the summary, of the rounds done."""
        verdict = self.verdict(self._run_state.rounds_done)
        if verdict is None:
            return None
        return GuardSummary(
            model=str(self._config.guard.reward),
            rounds=verdict.rounds,
            best_version=verdict.best.version,
            best_score=verdict.best.guard_mean,
            newest_version=verdict.newest.version,
            newest_score=verdict.newest.guard_mean,
            fall=verdict.fall.difference,
            fall_se=verdict.fall.standard_error,
            turned=verdict.turned,
            stopped=self.ended_the_run,
        )


def _fall(verdict: GuardVerdict) -> str:
    best, newest, fall = verdict.best, verdict.newest, verdict.fall
    return (
        f"its mean fell from {best.guard_mean:+.3f} (version {best.version}) to {newest.guard_mean:+.3f} (version {newest.version}), by "
        f"{fall.difference:.3f} with a standard error of {fall.standard_error:.3f}, and the reward's did not"
    )
