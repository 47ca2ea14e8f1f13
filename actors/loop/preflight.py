"""What is refused before Ray starts, for a run and for its `--dry-run` alike. Imports no Ray: a dry run needs none."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.checkpoints.resume import RunToResume, find_run_to_resume
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.interfaces import ProductSource
from caig_rl.models.folders import ModelKind, check_segments, resolve_model_folder
from caig_rl.runs.driver_lock import refuse_where_driven
from caig_rl.runs.folder import RunFolder


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model that the config names."""

    kind: ModelKind
    name: str
    """Folder, or "nano"."""
    architecture: str | None
    """What it is sized by where the folder is elsewhere."""
    trust_remote_code: bool = False
    segments: Sequence[str] = ()
    """Of shoppers, whose clicks a reward model must have been taught apart."""

    def check(self) -> None:
        """Raises ModelFolderError where the folder is none that a run would take."""
        check_segments(resolve_model_folder(self.name, self.kind, self.trust_remote_code), self.segments)

    @property
    def key(self) -> str:
        """The setting that names it."""
        return "guard.reward" if self.kind == "guard_reward" else f"{self.kind}.model"

    @property
    def is_elsewhere(self) -> bool:
        """True where the folder is not on this machine and the config says what is in it: a plan can be made all the same."""
        return self.architecture is not None and not Path(self.name).expanduser().exists()


def named_models(config: Config) -> Iterator[NamedModel]:
    """Every model folder that a run of `config` opens."""
    yield NamedModel("policy", config.policy.model, config.policy.architecture, config.policy.trust_remote_code)
    yield NamedModel("renderer", config.renderer.model, config.renderer.architecture)
    segments = config.segments.names
    if config.reward.kind == "model":
        yield NamedModel("reward", config.reward.model, config.reward.architecture, segments=segments)
    if config.guard.reward is not None:
        yield NamedModel("guard_reward", config.guard.reward, config.reward.architecture, segments=segments)


def preflight(
    config: Config, source: ProductSource, run_folder: RunFolder, *, resume: bool, asked: Collection[str] = ()
) -> RunToResume | None:
    """Refuse what needs no cluster to be seen, and make the run's folder. Returns how a resumed run goes on.

    Args:
        config: of the run.
        source: its products.
        run_folder: where it is written.
        resume: go on with it.
        asked: keys that may change with a resume because a person named them.

    Raises:
        UserError: nothing to train on, a model folder that is none, a reward model that was not taught the segments, a run folder that is
            taken, missing, cannot be written or has another driver, or what `find_run_to_resume` refuses.
    """
    _refuse_no_products(source)
    for model in named_models(config):
        model.check()
    refuse_where_driven(run_folder)
    run_folder.refuse(resume=resume)
    found = find_run_to_resume(config, run_folder, asked) if resume else None
    run_folder.prepare(resume=resume)
    return found


def preflight_of_dry_run(
    config: Config, source: ProductSource, run_folder: RunFolder, *, resume: bool, asked: Collection[str] = ()
) -> tuple[list[NamedModel], RunToResume | None]:
    """The same refusals without a trace: no folder is made. Returns the models that are elsewhere (a run started here would refuse them),
    and how a resumed run would go on.

    Raises:
        UserError: as `preflight`, but for those models.
    """
    _refuse_no_products(source)
    elsewhere = [model for model in named_models(config) if model.is_elsewhere]
    for model in named_models(config):
        if model not in elsewhere:
            model.check()
    refuse_where_driven(run_folder)
    run_folder.refuse(resume=resume)
    return elsewhere, find_run_to_resume(config, run_folder, asked) if resume else None


def _refuse_no_products(source: ProductSource) -> None:
    if not source.products:
        raise UserError(f"no usable product to train on; {len(source.rejected)} catalog rows were rejected")
