"""`guard`: a second reward model that nothing is learned from, and what a run does where it disagrees with the first."""

from __future__ import annotations

from caig_rl.config.section import FilePath, Section


class GuardConfig(Section):
    """A second reward model, which the policy is not optimised for: it shows a policy that pleases its reward model alone."""

    reward: FilePath | None = None
    """Folder of a reward model that scores each creative alone (scorer, vam or cg4ctr), trained on clicks that `reward.model` never saw, or
    "nano": the embedded one. It scores each creative of a round that has a reward, and a checkpoint is written after every round, because
    any version may be the result. Empty: none."""
    stop: bool = True
    """Stop after the round in which the guard has turned: its mean is below that of its best round by more than twice the standard error of
    the difference, and the reward's is not. False: the run goes on, and says so."""
