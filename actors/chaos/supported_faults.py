"""Which faults a config can show anything of. A fault that nobody would see, or that must end the run, proves nothing of it."""

from __future__ import annotations

from collections.abc import Sequence

from actors.chaos.fault_plan import DEFAULT_KINDS, FaultKind
from caig_rl.config.schema import Config
from caig_rl.errors import ConfigError


def misfit(kind: FaultKind, config: Config, every_s: float, has_cluster: bool) -> str:
    """Why a fault of this kind would show nothing, and what to change; empty where it fits.

    Args:
        kind: of the fault.
        config: of the run.
        every_s: seconds between two faults, on average.
        has_cluster: True where the run joins a cluster, which may have several nodes.
    """
    recovery, learner, rounds = config.recovery, config.learner, config.rollout.rounds
    saves_on_the_way = learner.checkpoint_every < rounds
    few_checkpoints = f"learner.checkpoint_every={learner.checkpoint_every} leaves no checkpoint before the last of {rounds} rounds"
    no_restarts = "recovery.learner_restarts=0 lets the first lost rank end the run"
    is_remote = "://" in config.run.root
    reasons = {
        FaultKind.RANK: [(recovery.learner_restarts == 0, no_restarts)],
        FaultKind.NODE: [(not has_cluster, "the run starts a Ray of its own on this machine, which is one node; name cluster.address")],
        FaultKind.SLOW: [
            (
                recovery.stall_s > every_s,
                f"recovery.stall_s={recovery.stall_s:g} is longer than the {every_s:g} s between two faults (--every): nobody would "
                "notice a worker that hangs; lower it",
            )
        ],
        FaultKind.NAN: [(config.reward.kind != "model", f"reward.kind={config.reward.kind} has no model that could give NaN")],
        FaultKind.DISK: [(not saves_on_the_way, few_checkpoints)],
        FaultKind.TORN: [
            (recovery.learner_restarts == 0, no_restarts),
            (learner.keep_checkpoints < 2, "learner.keep_checkpoints=1 leaves no older checkpoint to go on from"),
            (is_remote, f"run.root={config.run.root} is no local disk, whose files could be cut short"),
            (not saves_on_the_way, few_checkpoints),
        ],
    }
    return next((reason for applies, reason in reasons.get(kind, ()) if applies), "")


def fitting(
    named: Sequence[FaultKind] | None, config: Config, every_s: float, has_cluster: bool
) -> tuple[tuple[FaultKind, ...], list[str]]:
    """The kinds to inject, and a note for each of the default ones that is left out.

    `named`: what a person asked for; None: nothing.

    Raises:
        ConfigError: a kind that was named does not fit, or of the default ones none does.
    """
    kinds = DEFAULT_KINDS if named is None else tuple(named)
    found = {kind: misfit(kind, config, every_s, has_cluster) for kind in kinds}
    unfit = [f"{kind}: {reason}" for kind, reason in found.items() if reason]
    left = tuple(kind for kind in kinds if not found[kind])
    if unfit and (named is not None or not left):
        raise ConfigError("faults that would show nothing here\n" + "\n".join(f"  {line}" for line in unfit))
    return left, [f"left out, {line}" for line in unfit]
