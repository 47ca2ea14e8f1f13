"""What a run gives out: its result, the version that is measured, exported and served, and what the guard said of the versions.

The parts of `summary.json` that say so, and the checkpoint that they name.
"""

from __future__ import annotations

from typing import Literal

from caig_rl.runs.summary_part import Amount, Count, Part


class ResultSummary(Part):
    """The version that the final measurement is of."""

    version: str
    """"0.8": incarnation and number."""
    rounds: Count
    """Rounds that it learned from: the number of its checkpoint."""
    policy: str
    """Its Hugging Face folder, in the run's."""
    by: Literal["last", "guard", "fallback"]
    """"last": the run's last version. "guard": the guard had turned, and this is its best. "fallback": that one's checkpoint is lost."""
    why: str
    """In words."""


def last_version(version: str, rounds: int, why: str, by: Literal["last", "fallback"] = "last") -> ResultSummary:
    """The run's last version, after `rounds` rounds, as its result."""
    return ResultSummary(version=version, rounds=rounds, policy=policy_folder(rounds), by=by, why=why)


def policy_folder(rounds: int) -> str:
    """Where the policy that learned from `rounds` rounds lies, in the run's folder."""
    return f"checkpoints/{rounds}/policy"


class GuardSummary(Part):
    """Versions by the guard, a second reward model that nothing is learned from, each by the creatives that it wrote. Scores: log-odds."""

    model: str
    """Its folder, or "nano"."""
    rounds: Count
    """Rounds that it scored."""
    best_version: Count
    """Number of the version whose creatives it finds best."""
    best_score: float
    """Mean over products."""
    newest_version: Count
    """Number of the version that wrote the newest round's creatives."""
    newest_score: float
    fall: float
    """`best_score` less `newest_score`."""
    fall_se: Amount
    """Its standard error; products are the units."""
    turned: bool
    """True where the fall is more than twice its standard error, and the reward model's is not."""
    stopped: bool
    """True where it ended the run before its last planned round."""
