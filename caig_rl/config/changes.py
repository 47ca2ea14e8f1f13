"""Which settings may change where a run is gone on with, and which make it another run. The one list of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from caig_rl.config.keys import values
from caig_rl.config.schema import Config
from caig_rl.errors import ConfigError

FREE = (
    "run.name",
    "run.root",
    "run.stop_grace_s",
    "clicks",
    "pretrain",
    "serve",
    "reward.train",
    "reward.judge.url",
    "reward.judge.key_env",
    "reward.judge.timeout_s",
    "reward.judge.attempts",
    "reward.judge.requests_per_minute",
    "reward.judge.concurrency",
    "reward.judge.price_in",
    "reward.judge.price_out",
    "pools",
    "cluster",
    "recovery",
    "logs",
    "tracking",
    "evaluation.bootstrap",
    "evaluation.gallery",
    "rollout.max_attempts",
    "policy.architecture",
    "policy.gpu_memory_utilization",
    "policy.kv_cache_gib",
    "renderer.architecture",
    "reward.architecture",
    "learner.world_size",
    "learner.num_cpus",
    "learner.num_gpus",
    "learner.threads",
    "learner.node_labels",
    "learner.checkpoint_every",
    "learner.keep_checkpoints",
)
"""Keys, and whole sections, that say where and how a run runs, or that it does not read."""

ON_REQUEST = (
    "objective",
    "learner.lr",
    "learner.lr_schedule",
    "learner.min_lr_ratio",
    "learner.weight_decay",
    "learner.adam_eps",
    "learner.grad_clip",
    "learner.micro_batch_size",
    "learner.beta",
    "learner.beta_pc",
    "learner.pc_weight",
    "learner.pc_balance",
    "learner.negatives",
    "learner.nll_weight",
    "learner.fluency_floor",
    "learner.kl_weight",
    "learner.kl_bound",
    "learner.reference_every",
    "learner.sharpness",
    "learner.clip_low",
    "learner.clip_high",
    "learner.replay",
    "learner.replay_rounds",
    "reward.margin",
    "reward.batch_size",
    "guard.stop",
    "renderer.batch_size",
    "policy.max_model_len",
    "policy.trust_remote_code",
)
"""Keys that a person may have good reason to change between two rounds: what was measured before can still be compared with what comes."""

ROUNDS = "rollout.rounds"
"""May be raised, not lowered."""


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that is no longer what it was."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.before!r} -> {self.after!r}"

    @property
    def is_free(self) -> bool:
        """True where a run takes it without being asked."""
        if self.key == ROUNDS:
            return bool(self.after > self.before)
        return _within(self.key, FREE)


def changes_between(before: Config, after: Config) -> list[Change]:
    """Every setting that differs, in the schema's order."""
    old, new = values(before), values(after)
    return [Change(key, value, new[key]) for key, value in old.items() if new[key] != value]


def refuse_changes(changes: Sequence[Change], asked: Collection[str]) -> None:
    """Refuse what a run cannot take over. `asked`: keys of `ON_REQUEST` that a person named.

    Raises:
        ConfigError: a change that is not free and was not asked for, or a key asked for that no run can change.
    """
    wrong = [key for key in asked if key not in ON_REQUEST]
    if wrong:
        raise ConfigError(f"--change {wrong[0]}: not a setting that is changed within a run by request; those are {', '.join(ON_REQUEST)}")
    refused = [one for one in changes if not one.is_free and one.key not in asked]
    if not refused:
        return
    lines = [f"  {one}{_remedy(one)}" for one in refused]
    raise ConfigError(
        "\n".join(["the run was begun with other settings:", *lines, "Give the run's own values, or start anew under another run.name."])
    )


def identifies_the_run(key: str) -> bool:
    """True where `key` must be the same for as long as a run lives, so that a checkpoint with another value is of another run."""
    return not _within(key, FREE) and key not in ON_REQUEST and key != ROUNDS


def _remedy(change: Change) -> str:
    if change.key in ON_REQUEST:
        return f"   (to go on with the new value: --change {change.key})"
    return "   (rounds can only be added)" if change.key == ROUNDS else ""


def _within(key: str, places: Sequence[str]) -> bool:
    return any(key == place or key.startswith(f"{place}.") for place in places)
