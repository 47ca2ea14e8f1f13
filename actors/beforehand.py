"""What is refused before Ray starts, for a run and for its `--dry-run` alike. Imports no Ray: a dry run needs none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.evaluation.run_folder import RunFolder
from caig_rl.interfaces import ProductSource
from caig_rl.models.folders import ModelKind, resolve_model_folder


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model that the config names."""

    kind: ModelKind
    name: str
    """Folder, or "nano"."""
    architecture: str | None
    """What it is sized by where the folder is elsewhere."""
    trust_remote_code: bool = False

    def check(self) -> None:
        """Raises ModelFolderError where the folder is none that a run would take."""
        resolve_model_folder(self.name, self.kind, self.trust_remote_code)

    @property
    def is_elsewhere(self) -> bool:
        """True where the folder is not on this machine and the config says what is in it: a plan can be made all the same."""
        return self.architecture is not None and not Path(self.name).expanduser().exists()


def named_models(config: Config) -> Iterator[NamedModel]:
    """Every model folder that a run of `config` opens."""
    yield NamedModel("policy", config.policy.model, config.policy.architecture, config.policy.trust_remote_code)
    yield NamedModel("renderer", config.renderer.model, config.renderer.architecture)
    if config.reward.kind == "model":
        yield NamedModel("reward", config.reward.model, config.reward.architecture)


def refuse_before_ray(config: Config, source: ProductSource, run_folder: RunFolder, *, resume: bool) -> None:
    """Refuse what needs no cluster to be seen, and make the run's folder.

    Raises:
        UserError: nothing to train on, a model folder that is none, a run folder that is taken, missing or cannot be written.
    """
    _refuse_no_products(source)
    for model in named_models(config):
        model.check()
    run_folder.prepare(resume=resume)


def rehearse_before_ray(config: Config, source: ProductSource, run_folder: RunFolder, *, resume: bool) -> list[NamedModel]:
    """The same refusals without a trace: no folder is made. Returns the models that are elsewhere: a run started here would refuse them.

    Raises:
        UserError: as `refuse_before_ray`, but for those models.
    """
    _refuse_no_products(source)
    elsewhere = [model for model in named_models(config) if model.is_elsewhere]
    for model in named_models(config):
        if model not in elsewhere:
            model.check()
    run_folder.refuse(resume=resume)
    return elsewhere


def _refuse_no_products(source: ProductSource) -> None:
    if not source.products:
        raise UserError(f"no usable product to train on; {len(source.rejected)} catalog rows were rejected")
