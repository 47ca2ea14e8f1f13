"""The one validated tree that every command reads. Field descriptions are the reference a user sees."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from caig_rl.config.guard import GuardConfig
from caig_rl.config.learner import PAPER_NEGATIVES, LearnerConfig
from caig_rl.config.pretrain import PretrainConfig
from caig_rl.config.reward import ClicksConfig, RewardConfig
from caig_rl.config.rollout import PromptModelConfig, RolloutConfig
from caig_rl.config.section import NANO, FilePath, Share
from caig_rl.config.section import Section as _Section
from caig_rl.config.segments import SegmentsConfig
from caig_rl.config.serve import ServeConfig
from caig_rl.config.tracking import LogsConfig, TrackingConfig


class RunConfig(_Section):
    """Name, place and seed of the run."""

    name: str = Field("demo", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Folder of the run under `root`."""
    root: FilePath = "runs"
    """Local path or fsspec URI that holds the run folders."""
    seed: int = Field(0, ge=0)
    """Seed of everything but the click world."""
    stop_grace_s: float = Field(25.0, gt=0.0)
    """Longest time from SIGTERM to the process's end, with what is done in a checkpoint; then it ends without, with the same exit code, 75.
    Whoever sends SIGTERM must wait longer before SIGKILL (Kubernetes: terminationGracePeriodSeconds, 30 unless set)."""


class CatalogConfig(_Section):
    """Where the products come from."""

    path: FilePath | None = None
    """A CSV, JSONL or Parquet file, or a folder of images. Empty: products of the click world."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our column name -> the file's: {"product_id": "sku", "image": "photo"}."""
    max_products: int | None = Field(None, ge=1)
    """Read at most this many rows."""
    max_pixels: int = Field(40_000_000, ge=1)
    """A larger image is rejected before it is decoded (decompression bombs)."""
    min_cutout_confidence: Share = 0.35
    """A cut-out made from a plain ground with less confidence is rejected."""
    heldout_share: float | None = Field(None, ge=0.0, lt=1.0)
    """Share of the products that is held out: never trained on, and what policies are measured on. Empty: 0.1 where the catalog has at
    least 50 products, else 0. With 0 the lift is on products that training has seen. A product stays on its side when the catalog grows or
    is reordered, and together with those that share its picture, or its category and title."""


class WorldConfig(_Section):
    """The click world: simulated shoppers with hidden tastes."""

    judge: bool = True
    """Simulated shoppers judge the creatives. False: `ctr` is null in the summary."""
    seed: int = Field(0, ge=0)
    """Seed of products and shoppers, apart from the run's seed."""
    trap: bool | Literal["varied"] = True
    """A neon city earns clicks for any product while it suits none. "varied": worth more to some categories than to others, with the same
    mean. False: it earns nothing special."""
    unseen_categories: int = Field(0, ge=0, le=12)
    """Categories (of 14, chosen by `world.seed`) that no training product is of. Evaluation products are of all, and reported apart."""
    num_products: int = Field(512, ge=1)
    """Training products drawn when `catalog.path` is empty."""


class ImagingConfig(_Section):
    """How product and background become one creative."""

    size: int = Field(512, ge=64, multiple_of=8)
    """Side of the finished creative in pixels."""
    product_scale: float = Field(0.62, gt=0.05, le=0.95)
    """Longest side of the product as a share of the frame. The paper uses 0.78."""
    baseline: float = Field(0.86, gt=0.1, le=1.0)
    """Height of the product's foot as a share of the frame, from the top."""
    erode_px: int = Field(2, ge=0)
    """Inside the alpha eroded by this many pixels, the product's pixels are kept exactly."""
    mask_dilate: float = Field(0.04, ge=0.0, le=0.2)
    """Dilation of the region kept from inpainting, as a share of the frame (20 px at 512 in the paper)."""
    canny: tuple[int, int] = (100, 200)
    """Lower and upper threshold of the Canny control."""

    @model_validator(mode="after")
    def _thresholds_are_in_order(self) -> ImagingConfig:
        lower, upper = self.canny
        if not 0 <= lower <= upper:
            raise ValueError(f"imaging.canny = [{lower}, {upper}]: give the lower threshold first, then the upper, neither below 0")
        return self


class PolicyConfig(_Section):
    """The prompt model and its vLLM engine."""

    model: FilePath = NANO
    """Model folder (Hugging Face layout, safetensors), or "nano"."""
    architecture: str | None = None
    """For `--dry-run` where the folder is not on this machine: "llava-1.6-vicuna-7b", "qwen2.5-vl-7b" or "smolvlm-500m"."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model folder."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    temperature: float = Field(1.0, gt=0.0)
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    max_tokens: int = Field(48, ge=1)
    """Longest answer in tokens."""
    max_model_len: int = Field(256, ge=16)
    image_size: int = Field(64, ge=16)
    """Side of the product picture shown to the policy."""
    gpu_memory_utilization: float = Field(0.9, gt=0.0, le=1.0)
    kv_cache_gib: int = Field(1, ge=1)
    """CPU only: room for the KV cache."""

    @model_validator(mode="after")
    def _the_answer_leaves_room_for_the_question(self) -> PolicyConfig:
        if self.max_tokens >= self.max_model_len:
            raise ValueError(
                f"policy.max_tokens ({self.max_tokens}) must be less than policy.max_model_len ({self.max_model_len}), "
                "which holds picture, question and answer"
            )
        return self


class RendererConfig(_Section):
    """The diffusion pipeline."""

    model: FilePath = NANO
    """Folder of a StableDiffusionControlNetInpaintPipeline, or "nano"."""
    architecture: str | None = None
    """For `--dry-run` where the folder is not on this machine: "sd1.5-controlnet"."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    size: int = Field(64, ge=32, multiple_of=8)
    """Side of the rendered background before it is scaled to `imaging.size`."""
    steps: int = Field(3, ge=1)
    """Denoising steps. The embedded renderer is distilled to 3; Stable Diffusion wants 20 to 30."""
    guidance_scale: float = Field(1.0, ge=1.0)
    """Classifier-free guidance; each step costs twice above 1. The embedded renderer has it distilled in; Stable Diffusion wants 7.5."""
    control_scale: float = Field(1.0, ge=0.0)
    negative_prompt: str = ""
    batch_size: int = Field(16, ge=1)
    """Images per pipeline call."""


class PoolConfig(_Section):
    """Workers of one stage."""

    workers: int = Field(1, ge=1)
    """Workers at the start, and the fewest later."""
    max_workers: int | None = Field(None, ge=1)
    """The pool grows up to this many where the run waits for it. Empty: it stays at `workers`."""
    num_cpus: float = Field(1.0, ge=0.0)
    """CPUs that Ray reserves for each worker."""
    num_gpus: float = Field(0.0, ge=0.0)
    threads: int = Field(1, ge=1)
    """Threads of torch and OpenMP in each worker."""
    node_labels: dict[str, str] = Field(default_factory=dict)
    """Ray node labels that a worker's node must carry: {"role": "rollout"}. Empty: any node."""

    @model_validator(mode="after")
    def _most_is_no_less_than_least(self) -> PoolConfig:
        if self.max_workers is not None and self.max_workers < self.workers:
            raise ValueError(f"max_workers ({self.max_workers}) is less than workers ({self.workers})")
        return self


class ScalingConfig(_Section):
    """How pools with `max_workers` are sized."""

    window_s: float = Field(60.0, gt=0.0)
    """A pool changes its size after this long of the same need, and is watched as long again before the next change."""
    grow_at: float = Field(1.0, gt=0.0)
    """A pool grows where this many shards waited for each of its workers, for most of the window."""
    period_s: float = Field(2.0, gt=0.0)
    """Time between two looks at the pools, and at Ray's list of draining nodes."""


class PoolsConfig(_Section):
    """The worker pools of the loop."""

    scaling: ScalingConfig = ScalingConfig()

    policy: PoolConfig = PoolConfig(num_cpus=0.4, threads=2)
    renderer: PoolConfig = PoolConfig(num_cpus=0.8, threads=2)
    scorer: PoolConfig = PoolConfig(num_cpus=0.2, threads=2)


class EvaluationConfig(_Section):
    """How initial and final policy are compared."""

    products: int = Field(48, ge=1)
    """Held-out products that are measured: as many of the click world, of a catalog no more than it holds out (`catalog.heldout_share`)."""
    prompts_per_product: int = Field(2, ge=1)
    bootstrap: int = Field(2000, ge=100)
    """Resamples of products for the confidence interval."""
    gallery: int = Field(8, ge=0)
    """Products in the report's before/after gallery."""


TASK_CPUS = 0.1
"""What Ray reserves for the short tasks that load products, judge, and write samples: they must fit beside the pools on two CPUs."""


class ClusterConfig(_Section):
    """The Ray cluster the run uses."""

    address: str | None = None
    """Address of a running cluster; empty starts one on this machine (or joins the job's own)."""
    num_cpus: int | None = Field(None, ge=1)
    """CPUs of the local cluster; empty: all."""
    object_store_gib: float = Field(1.0, gt=0.07)
    """Shared memory for the object store of a local cluster."""
    metrics_port: int | None = Field(None, ge=1, le=65535)
    """Port of a local cluster that Prometheus scrapes. Empty: one that Ray chooses. A cluster that was there before has its own."""
    gpus: int | None = Field(None, ge=0)
    """GPUs of the cluster, for `--dry-run`: a config that asks for more is refused. Empty: as many as it asks for."""
    gpu_memory_gib: float | None = Field(None, gt=0.0)
    """Memory of one GPU: a config whose workers do not fit on theirs is refused. Empty: estimated, not checked."""
    autoscaling: bool = False
    """The cluster adds nodes for workers that wait. False: a config that asks for more than is there is refused at once."""
    start_timeout_s: float = Field(600.0, gt=0.0)
    """Longest wait for workers to come up before the run says what it waits for and fails."""
    wait_note_s: float = Field(60.0, gt=0.0)
    """Seconds between the lines that say which workers are waited for, and what the cluster has."""


class RecoveryConfig(_Section):
    """When something counts as lost, and how often it is brought back."""

    stall_s: float = Field(600.0, gt=0.0)
    """A worker that holds one shard this long without finishing it is replaced, and the shard issued again."""
    stall_factor: float = Field(5.0, ge=1.0)
    """It is given more time where shards take long: this many times the longest so far."""
    learner_stall_s: float = Field(300.0, gt=0.0)
    """A learner group is re-formed where a rank takes no step (a batch prepared, an optimiser step) for this long; loading, saving and
    exporting may take as long as `cluster.start_timeout_s`. `stall_factor` counts here too."""
    regroup_s: float = Field(120.0, gt=0.0)
    """A learner that lost a rank waits this long for room for as many ranks; then it goes on with fewer. For the last rank it waits
    as long as at a start (`cluster.start_timeout_s`)."""
    learner_restarts: int = Field(3, ge=0)
    """The learner group is re-formed after a lost rank, or lost weights, this many times between two rounds; then the run fails."""


class Config(_Section):
    """The whole configuration of a run."""

    objective: Literal["pcpo", "pcpo_paper", "pcpo_official", "dpo", "cdpo", "listwise", "ipo", "rebel", "policy_gradient", "sft"] = "pcpo"
    """What the learner optimises. "pcpo": product-centric by reward, over all candidates. "pcpo_paper": the paper's loss. "pcpo_official"
    swaps the answer with the text, as the paper's code does: for reproduction only. "dpo": clicks alone."""
    run: RunConfig = RunConfig()
    catalog: CatalogConfig = CatalogConfig()
    clicks: ClicksConfig = ClicksConfig()
    world: WorldConfig = WorldConfig()
    segments: SegmentsConfig = SegmentsConfig()
    imaging: ImagingConfig = ImagingConfig()
    policy: PolicyConfig = PolicyConfig()
    pretrain: PretrainConfig = PretrainConfig()
    renderer: RendererConfig = RendererConfig()
    reward: RewardConfig = RewardConfig()
    guard: GuardConfig = GuardConfig()
    rollout: RolloutConfig = RolloutConfig()
    prompt_model: PromptModelConfig = PromptModelConfig()
    pools: PoolsConfig = PoolsConfig()
    learner: LearnerConfig = LearnerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    cluster: ClusterConfig = ClusterConfig()
    recovery: RecoveryConfig = RecoveryConfig()
    serve: ServeConfig = ServeConfig()
    logs: LogsConfig = LogsConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _no_more_is_painted_than_written(self) -> Config:
        if self.rollout.written is not None and self.rollout.written < self.rollout.candidates:
            raise ValueError(
                f"rollout.written ({self.rollout.written}) is less than rollout.candidates ({self.rollout.candidates}): "
                "as many prompts must be written as are painted"
            )
        return self

    @model_validator(mode="after")
    def _the_guard_is_another_model(self) -> Config:
        # "nano" names two different models here.
        if self.reward.kind == "model" and self.guard.reward == self.reward.model != NANO:
            raise ValueError(f"guard.reward and reward.model are both {self.guard.reward}: a guard is a model that nothing is learned from")
        return self

    @model_validator(mode="after")
    def _the_official_form_has_the_papers_negatives(self) -> Config:
        others = sorted(kind for kind, weight in self.learner.negatives.items() if weight > 0.0 and kind not in PAPER_NEGATIVES)
        if self.objective == "pcpo_official" and others:
            raise ValueError(f"objective=pcpo_official has the paper's negatives alone; leave {', '.join(others)} out of learner.negatives")
        return self

    @model_validator(mode="after")
    def _the_world_rewards_its_own_products(self) -> Config:
        if self.reward.kind == "world" and self.catalog.path is not None:
            raise ValueError(
                f"reward.kind=world: only the click world's own products have a true CTR, and catalog.path names {self.catalog.path}; "
                "leave catalog.path empty, or use reward.kind=model"
            )
        if self.reward.kind == "world" and not self.world.judge:
            raise ValueError("reward.kind=world asks the world's shoppers, and world.judge is false")
        return self

    @model_validator(mode="after")
    def _events_are_no_arms(self) -> Config:
        if self.clicks.rows_are_arms and self.clicks.form == "events":
            raise ValueError("clicks.rows_are_arms is for rows with impressions and clicks of their own; with clicks.form=events map `arm`")
        return self

    @model_validator(mode="after")
    def _some_products_are_left_to_train_on(self) -> Config:
        kept = self.clicks.validation_share + self.clicks.heldout_share
        if kept >= 1.0:
            raise ValueError(f"clicks.validation_share and clicks.heldout_share add up to {kept:.2f}; below 1 leaves products to train on")
        return self

    @model_validator(mode="after")
    def _batches_fit_the_group(self) -> Config:
        if self.learner.batch_size % self.learner.world_size:
            raise ValueError(
                f"learner.batch_size ({self.learner.batch_size}) must be a multiple of learner.world_size ({self.learner.world_size})"
            )
        return self
