"""What `--resume` finds in a run's folder, and what it refuses there. Imports no Ray: a dry run needs none."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from actors.checkpoints.store import CheckpointStore
from caig_rl.config.changes import ROUNDS, Change, changes_between, refuse_changes
from caig_rl.config.load import load_run_config
from caig_rl.config.schema import Config
from caig_rl.errors import CheckpointError, UserError
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import RunSummary, read_summary


@dataclass(frozen=True, slots=True)
class RunToResume:
    """How a run would go on."""

    step: int | None
    """Rounds done in the newest checkpoint that has its manifest; None: there is none, and the run begins anew."""
    changes: tuple[Change, ...]
    is_done: bool
    """True where nothing is left to train."""
    by_guard: bool = False
    """True where it is done because its guard ended it."""

    @property
    def to_go_on(self) -> str:
        """What a person must do for a run that is done to be trained further."""
        return "its guard stopped it; to go on, --change guard.stop guard.stop=false" if self.by_guard else f"raise {ROUNDS} to go on"

    @property
    def words(self) -> str:
        """For a person."""
        if self.is_done:
            return f"already done; {self.to_go_on}"
        start = "begins anew: it was cut short before its first checkpoint" if self.step is None else f"goes on after round {self.step}"
        return "; ".join([start, *map(str, self.changes)])


def find_run_to_resume(config: Config, folder: RunFolder, asked: Collection[str] = ()) -> RunToResume:
    """What a resume with `config` would do. Leaves no trace. `asked`: keys that may change because a person named them.

    Raises:
        CheckpointError: rounds were done, and no checkpoint of them is left; or checkpoints are there without their config.yaml.
        ConfigError: a setting changed that must not.
    """
    store = CheckpointStore(folder, config.learner.keep_checkpoints)
    step = max((one for one in store.steps() if store.is_complete(one)), default=None)
    if step is None:
        _refuse_lost_checkpoints(folder)
        return RunToResume(None, (), is_done=False)
    changes = _changes(config, folder)
    refuse_changes(changes, asked)
    summary = _summary(folder)
    if summary is None or summary.status != "done":
        return RunToResume(step, tuple(changes), is_done=False)
    by_guard = summary.guard is not None and summary.guard.stopped and config.guard.stop
    return RunToResume(step, tuple(changes), by_guard or config.rollout.rounds <= summary.rounds, by_guard)


def _summary(folder: RunFolder) -> RunSummary | None:
    try:
        return read_summary(folder) if folder.exists("summary.json") else None
    except UserError:  # damaged: the checkpoint has all that it says, and the run writes it anew
        return None


def _changes(config: Config, folder: RunFolder) -> list[Change]:
    if not folder.exists("config.yaml"):
        raise CheckpointError(
            f"{folder.path('config.yaml')} is missing: nobody can tell whether the settings are the run's. Put it back, or start anew "
            "under another run.name."
        )
    return changes_between(load_run_config(folder.read_text("config.yaml"), folder.path("config.yaml")), config)


def _refuse_lost_checkpoints(folder: RunFolder) -> None:
    summary = _summary(folder)
    done = max(0 if summary is None else summary.rounds, len(folder.read_metrics()))
    if done:
        raise CheckpointError(
            f"{folder.url} has done {done} round(s), but no complete checkpoint is in {folder.path('checkpoints')}. Put that folder back, "
            "or start anew under another run.name; this one is left as it is."
        )
