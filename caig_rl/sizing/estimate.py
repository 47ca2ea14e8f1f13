"""From a config to the memory of each role: finds the models, by folder or by architecture, and asks each role's page."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedConfig

from caig_rl.config.schema import Config
from caig_rl.config.section import NANO
from caig_rl.models.folders import ModelKind, resolve_model_folder
from caig_rl.sizing.architectures import language_model_config
from caig_rl.sizing.hollow import hollow_renderer
from caig_rl.sizing.learner import DTYPES, learner_memory
from caig_rl.sizing.memory import RoleMemory
from caig_rl.sizing.workers import policy_memory, renderer_memory, scorer_memory

ROLES = ("learner", "policy", "renderer", "scorer")


def estimate(config: Config) -> dict[str, RoleMemory]:
    """One worker of each role, by role. A role is left out where its model is neither on this machine nor named by its architecture.

    Raises:
        UserError: an architecture that is not described.
    """
    found: dict[str, RoleMemory] = {}
    policy, name = language_model_config(_folder(config.policy.model, "policy"), config.policy.architecture), _name(config, "policy")
    if policy is not None:
        found["learner"] = learner_memory(config, policy, name)
        found["policy"] = policy_memory(config, policy, name)
    renderer = config.renderer
    networks = hollow_renderer(_folder(renderer.model, "renderer"), renderer.architecture, DTYPES[renderer.dtype])
    if networks is not None:
        found["renderer"] = renderer_memory(config, networks, _name(config, "renderer"))
    if config.reward.kind == "model":
        reward = language_model_config(_folder(config.reward.model, "reward"), config.reward.architecture)
        if reward is not None:
            found["scorer"] = scorer_memory(config, reward, _name(config, "reward"), _guard(config))
    return found


def _guard(config: Config) -> PreTrainedConfig | None:
    """The guard's model, which the scorer holds beside the reward model; None: there is none, or none that is a language model."""
    guard = config.guard.reward
    return None if guard is None else language_model_config(_folder(guard, "guard_reward"), config.reward.architecture)


def _folder(model: str, kind: ModelKind) -> Path | None:
    folder = resolve_model_folder(NANO, kind) if model == NANO else Path(model).expanduser()
    return folder if folder.is_dir() else None


def _name(config: Config, kind: ModelKind) -> str:
    section = getattr(config, kind)
    return section.model if _folder(section.model, kind) is not None else str(section.architecture)
