"""`caig-rl nano build`: all embedded models from the world alone, stage by stage. A stage that has its files is not run again."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, ControlNetModel, StableDiffusionControlNetInpaintPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, Idefics3ForConditionalGeneration, Idefics3Processor, PreTrainedTokenizerFast

from caig_rl.config.reward import RewardTrainConfig
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.models.renderer import MID_GREY
from caig_rl.nano.autoencoder import Progress, encode_all, train_autoencoder
from caig_rl.nano.corpus import READING, draw_corpus, draw_named_products, draw_tuning_corpus
from caig_rl.nano.diffusion import DiffusionData, train_controlnet, train_unet
from caig_rl.nano.distillation import DistillationPlan, Painter, distil
from caig_rl.nano.eyes import eyes_accuracy, train_eyes
from caig_rl.nano.half import store_in_half
from caig_rl.nano.isolated import in_own_process
from caig_rl.nano.policy import pretrain_policy, tune_policy
from caig_rl.nano.renderer import assemble_pipeline, save_pipeline
from caig_rl.nano.reward import LoggedCreatives, draw_creatives, reading_practice, train_nano_reward
from caig_rl.nano.scenes_data import draw_inpainting, draw_pictures
from caig_rl.nano.seeing import teach_backbone, teach_seeing
from caig_rl.nano.text import all_phrases, new_text_encoder, train_renderer_tokenizer
from caig_rl.world.eyes import WEIGHTS_FOLDER as EYES_FOLDER
from caig_rl.world.eyes import WIDTHS, load_eyes
from caig_rl.world.judge import WorldJudge
from caig_rl.world.products import unseen_categories
from caig_rl.world.tastes import SEGMENTS

log = logging.getLogger(__name__)

NANO_WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = ("renderer", "policy", "backbone", "reward", "guard_reward")
"""Stages whose result is part of the package."""
CREATIVES_FILE = "creatives.pickle"
"""What a stage that draws creatives leaves."""
NEEDS: Mapping[str, tuple[str, ...]] = {
    "unet": ("vae",),
    "controlnet": ("vae", "unet"),
    "distilled": ("vae", "unet", "controlnet"),
    "renderer": ("vae", "unet", "distilled"),
    "policy": ("pretrained",),
    "creatives": ("policy", "renderer"),
    "backbone": ("policy", "creatives"),
    "reward": ("creatives", "backbone"),
    "guard_creatives": ("policy", "renderer"),
    "guard_reward": ("guard_creatives", "backbone"),
}
"""Stage -> the stages whose files it reads."""
STAGES = (
    "eyes",
    "vae",
    "unet",
    "controlnet",
    "distilled",
    "renderer",
    "pretrained",
    "policy",
    "creatives",
    "backbone",
    "reward",
    "guard_creatives",
    "guard_reward",
)
_GUARD_SEED = 1
"""Added to the plan's seed: the guard's head, its shoppers' clicks and its order of products are drawn apart from the reward model's."""


@dataclass(frozen=True)
class BuildPlan:
    """How much of everything. The defaults are those of the weights that ship."""

    pictures: int = 12_000
    controlnet_pictures: int = 5000
    eyes_epochs: int = 5
    autoencoder_steps: int = 2400
    unet_steps: int = 3600
    controlnet_steps: int = 260
    distillation_tasks: int = 8000
    distillation_steps: int = 480
    corpus: int = 16_000
    policy_steps: int = 1000
    product_seeing_steps: int = 400
    tuning_steps: int = 700
    reward_products: int = 1800
    reward_candidates: int = 6
    seeing_steps: int = 2000
    seeing_steps_of_two: int = 1500
    reward_epochs: int = 6
    reward_segments: bool = False
    """Reward models learn the clicks of each of the world's segments of shoppers too: four entries a product for one, so four times the
    time."""
    seed: int = 0


def check_stages(folder: Path, only: Sequence[str]) -> None:
    """Raise UserError where `only` names no stage, or one whose input is neither in `folder`, nor shipped, nor built with it."""
    unknown = [name for name in only if name not in STAGES]
    if unknown:
        raise UserError(f"there is no stage {unknown[0]!r}; stages are {', '.join(STAGES)}")
    for name in only:
        missing = _unbuilt(folder, name, only)
        if missing:
            needed = [stage for stage in STAGES if stage in {*only, *missing}]
            command = " ".join(["caig-rl nano build", *(f"--only {stage}" for stage in needed)])
            inputs = " and ".join(missing)
            raise UserError(f"stage {name} reads what {inputs} made, which is neither in {folder} nor shipped; build it too: `{command}`")


def _unbuilt(folder: Path, name: str, only: Sequence[str]) -> list[str]:
    """The stages that must run before `name`, in order, and are not among `only`."""
    found: set[str] = set()
    for needed in NEEDS.get(name, ()):
        is_there = (folder / needed).exists() or needed in SHIPPED
        if not is_there:
            found |= {*_unbuilt(folder, needed, only), *([] if needed in only else [needed])}
    return [stage for stage in STAGES if stage in found]


class NanoBuilder:
    """Runs the stages in order. Everything goes to `folder`, and to the package once all of it is there."""

    def __init__(self, folder: Path, plan: BuildPlan, config: Config, progress: Progress) -> None:
        self.folder, self.plan, self.config, self.progress = folder, plan, config, progress
        self._unseen = unseen_categories(config.world.seed, config.world.unseen_categories)

    def stages(self) -> dict[str, Callable[[Path], None]]:
        """Name -> function of each stage, in order. It writes to the folder it is given, which appears under its name when it is done."""
        until_renderer = (self._eyes, self._autoencoder, self._unet, self._controlnet, self._distilled, self._renderer)
        from_policy = (self._pretrained, self._policy, self._creatives, self._backbone, self._reward)
        guard = (self._guard_creatives, self._guard_reward)
        return dict(zip(STAGES, (*until_renderer, *from_policy, *guard), strict=True))

    def run(self, only: Sequence[str] = ()) -> None:
        """Run the stages that are not done yet; with `only`, those stages alone, and anew. What they read comes from this folder, else from
        the package.

        Raises:
            UserError: `only` names no stage, or one whose input is neither there nor to be built with it.
        """
        check_stages(self.folder, only)
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, stage in self.stages().items():
            target, partial = self.folder / name, self.folder / f"{name}.partial"
            if name not in only if only else target.exists():
                log.info("stage %s is not run", name)
                continue
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            stage(partial)
            # The old result goes only when the new one is whole.
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)

    def install(self, only: Sequence[str] = ()) -> list[str]:
        """Copy the finished models into the package, with `only` those of these stages; returns their names."""
        names = [name for name in SHIPPED if not only or name in only]
        for name in names:
            shutil.copytree(self.folder / name, NANO_WEIGHTS / name, dirs_exist_ok=True)
        return names

    def _input(self, name: str) -> Path:
        """The folder of a stage that is done: in this build, else as shipped."""
        built = self.folder / name
        return built if built.exists() or name not in SHIPPED else NANO_WEIGHTS / name

    def _note(self, folder: Path, metrics: Mapping[str, object]) -> None:
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")

    def _eyes(self, folder: Path) -> None:
        pictures, held_out = draw_pictures(16_000, 3, with_product=0.75), draw_pictures(2000, 77, with_product=0.75)
        metrics: dict[str, object] = {}
        for name, seed in (("shoppers", 1), ("relevance", 2)):
            eyes = train_eyes(name, pictures, self.plan.eyes_epochs, seed, self.progress)
            save_file({key: value.contiguous() for key, value in eyes.state_dict().items()}, folder / f"{name}.safetensors")
            metrics[name] = eyes_accuracy(eyes, held_out)
        self._note(folder, metrics)
        # The judge of later stages looks through the package's eyes.
        EYES_FOLDER.mkdir(exist_ok=True)
        for name in WIDTHS:
            shutil.copy(folder / f"{name}.safetensors", EYES_FOLDER)
        load_eyes.cache_clear()

    def _autoencoder(self, folder: Path) -> None:
        images = draw_pictures(6000, 1).images
        train_autoencoder(images, self.plan.autoencoder_steps, 16, self.plan.seed, self.progress).save_pretrained(folder)

    def _diffusion_data(self, tokenizer: PreTrainedTokenizerFast, count: int, seed: int, with_product: float) -> DiffusionData:
        vae = AutoencoderTiny.from_pretrained(self.folder / "vae")
        pictures = draw_pictures(count, seed, with_product)
        return DiffusionData(encode_all(vae, pictures.images), pictures, tokenizer)

    def _unet(self, folder: Path) -> None:
        tokenizer = train_renderer_tokenizer(all_phrases())
        data = self._diffusion_data(tokenizer, self.plan.pictures, 2, 0.5)
        unet, text = train_unet(data, new_text_encoder(len(tokenizer)), self.plan.unet_steps, 24, self.plan.seed, self.progress)
        unet.save_pretrained(folder / "unet")
        text.save_pretrained(folder / "text_encoder")
        tokenizer.save_pretrained(folder / "tokenizer")

    def _load_unet(self) -> tuple[UNet2DConditionModel, CLIPTextModel, PreTrainedTokenizerFast]:
        folder = self.folder / "unet"
        return (
            UNet2DConditionModel.from_pretrained(folder / "unet"),
            CLIPTextModel.from_pretrained(folder / "text_encoder"),
            PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer"),
        )

    def _controlnet(self, folder: Path) -> None:
        unet, text, tokenizer = self._load_unet()
        data = self._diffusion_data(tokenizer, self.plan.controlnet_pictures, 4, 1.0)
        train_controlnet(data, unet, text, self.plan.controlnet_steps, 24, self.plan.seed, self.progress).save_pretrained(folder)

    def _distilled(self, folder: Path) -> None:
        plan, (unet, text, tokenizer) = self.plan, self._load_unet()
        teacher = Painter(unet, ControlNetModel.from_pretrained(self.folder / "controlnet"))
        tasks = draw_inpainting(plan.distillation_tasks, 8, AutoencoderTiny.from_pretrained(self.folder / "vae"), MID_GREY)
        student = distil(teacher, text, tokenizer, tasks, DistillationPlan(), plan.distillation_steps, 24, plan.seed, self.progress)
        student.unet.save_pretrained(folder / "unet")
        student.controlnet.save_pretrained(folder / "controlnet")

    def _renderer(self, folder: Path) -> None:
        _, text, tokenizer = self._load_unet()
        vae, distilled = AutoencoderTiny.from_pretrained(self.folder / "vae"), self.folder / "distilled"
        unet, controlnet = (
            UNet2DConditionModel.from_pretrained(distilled / "unet"),
            ControlNetModel.from_pretrained(distilled / "controlnet"),
        )
        save_pipeline(assemble_pipeline(vae, text, tokenizer, unet, controlnet), folder)
        loaded = StableDiffusionControlNetInpaintPipeline.from_pretrained(folder, safety_checker=None)
        parameters = sum(p.numel() for part in (loaded.unet, loaded.controlnet, loaded.vae, loaded.text_encoder) for p in part.parameters())
        self._note(folder, {"parameters": parameters})

    def _pretrained(self, folder: Path) -> None:
        plan = self.plan
        model, processor = pretrain_policy(
            draw_corpus(plan.corpus, plan.seed, without=self._unseen), plan.policy_steps, plan.seed, self.progress
        )
        model.save_pretrained(folder)
        processor.save_pretrained(folder)

    def _load_policy(self, stage: str) -> tuple[Idefics3ForConditionalGeneration, Idefics3Processor]:
        folder = self._input(stage)
        return Idefics3ForConditionalGeneration.from_pretrained(folder), Idefics3Processor.from_pretrained(folder)

    def _policy(self, folder: Path) -> None:
        plan, (model, processor) = self.plan, self._load_policy("pretrained")
        named = draw_named_products(without=self._unseen)
        teach_seeing(model, processor, named, plan.product_seeing_steps, plan.seed, self.progress)
        corpus = draw_tuning_corpus(plan.corpus, plan.seed, without=self._unseen)
        tune_policy(model, processor, corpus, plan.tuning_steps, plan.seed, self.progress)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)

    def _backbone(self, folder: Path) -> None:
        plan, (model, processor) = self.plan, self._load_policy("policy")
        corpus = draw_corpus(plan.corpus, plan.seed + 1, READING, without=self._unseen)
        corpus += reading_practice(self._load_creatives("creatives"), plan.seed)
        teach_backbone(model, processor, corpus, (plan.seeing_steps, plan.seeing_steps_of_two), plan.seed, self.progress)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        store_in_half(folder)

    def _creatives(self, folder: Path) -> None:
        self._draw_creatives("reward", folder, self.progress)

    def _guard_creatives(self, folder: Path) -> None:
        self._draw_creatives("guard", folder, self._told_as("guard_creatives"))

    def _told_as(self, stage: str) -> Progress:
        """The progress under the stage's own name, of work that another stage does too."""
        return lambda name, step, steps, loss: self.progress(stage, step, steps, loss)

    def _draw_creatives(self, split: str, folder: Path, progress: Progress) -> None:
        plan, threads = self.plan, torch.get_num_threads()
        models = (self._input("policy"), self._input("renderer"))
        counts = (plan.reward_products, plan.reward_candidates)
        creatives = in_own_process(draw_creatives, *models, self.config, split, *counts, threads, progress=progress)
        (folder / CREATIVES_FILE).write_bytes(pickle.dumps(creatives))

    def _load_creatives(self, stage: str) -> LoggedCreatives:
        # Written by an earlier stage, in this folder of ours: not a file from outside.
        creatives: LoggedCreatives = pickle.loads((self.folder / stage / CREATIVES_FILE).read_bytes())
        return creatives

    def _reward(self, folder: Path) -> None:
        self._train_reward("creatives", self.plan.seed, folder, self.progress)

    def _guard_reward(self, folder: Path) -> None:
        self._train_reward("guard_creatives", self.plan.seed + _GUARD_SEED, folder, self._told_as("guard_reward"))

    def _train_reward(self, stage: str, seed: int, folder: Path, progress: Progress) -> None:
        """A scorer of the creatives that `stage` drew."""
        epochs = self.plan.reward_epochs
        # All epochs run, and the best is kept. Many small steps: six products of six creatives are 36 rows a step.
        config = RewardTrainConfig(epochs=epochs, patience=epochs, batch_size=6, lr=1.5e-4, warmup_share=0.1, zero_stage=0)
        backbone, judge = self._input("backbone"), WorldJudge.of(self.config.world)
        segments = SEGMENTS if self.plan.reward_segments else ()
        self._note(folder, train_nano_reward(backbone, self._load_creatives(stage), judge, config, seed, folder, progress, segments))
