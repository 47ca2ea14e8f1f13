"""The reward model: click logs in, training, and who scores during a run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from caig_rl.config.section import NANO, FilePath, Share
from caig_rl.config.section import Section as _Section
from caig_rl.config.training import TrainJobConfig


class ClicksConfig(_Section):
    """Click logs: where they are, how they are read, and what becomes of them (`caig-rl data pairs`)."""

    path: FilePath | None = None
    """A Parquet, CSV or JSONL file, or a folder of files of one kind; local or an fsspec URI."""
    form: Literal["aggregates", "events"] = "aggregates"
    """"aggregates": rows with impressions and clicks, summed per creative. "events": each row is one impression, clicked or not."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our column name -> the file's: {"product": "sku", "creative": "ad_id"}. "headline + image_id" joins two columns into one name, ""
    leaves a column out."""
    rows_are_arms: bool = False
    """Each row is one arm of a test, and one creative may be in several. Otherwise traffic is taken as split between creatives."""
    images: FilePath | None = None
    """Folder that the log's image paths are relative to. Empty: the log's own folder."""
    max_faulty_share: Share = 0.05
    """More faulty rows than this share of all rows stop the job, more files that cannot be opened than this share of all files, and more
    unusable pictures than this share of those read."""
    split: Literal["auto", "propensity", "share", "equal", "unchecked"] = "auto"
    """How traffic was meant to be split. "auto": by the log's column `propensity`, else by its column `share`, else equally. A test
    that spans several products is checked product by product."""
    sample_ratio_level: float = Field(0.01, gt=0.0, lt=1.0)
    """Tests not split as designed are set aside; at most this share of them is set aside by chance (Benjamini-Hochberg)."""
    min_impressions: int = Field(100, ge=1)
    """A creative with fewer impressions in its test is left out."""
    prior_impressions: float | None = Field(None, gt=0.0)
    """Weight of the product's own CTR in a creative's posterior, in impressions. Empty: estimated from the log."""
    policy: Literal["official", "all", "significant", "posterior"] = "posterior"
    """Pairs to learn from: CTR ratio 1.05-1.20 (the paper), every pair, |z| > 1.96, or every pair weighted by how sure its order is."""
    max_pairs_per_test: int = Field(1000, ge=1)
    """A test with more pairs gives a random selection of this many."""
    validation_share: Share = 0.1
    """Products kept for early stopping."""
    heldout_share: Share = 0.1
    """Products kept for the final measurement."""
    out: FilePath = "runs/clicks"
    """Folder for creatives.parquet, pairs.parquet and the report; local or an fsspec URI."""


class JudgeConfig(_Section):
    """A multimodal model behind an OpenAI-compatible endpoint, asked which of two creatives is clicked more (reward.kind=judge)."""

    url: str = "http://127.0.0.1:8000/v1"
    """Address of the API, up to and without /chat/completions."""
    model: str = ""
    """Name of the model at the endpoint."""
    key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; the key itself is never written down. Unset: no key is sent."""
    image_size: int = Field(512, ge=16)
    """Side of each creative in the picture that is sent."""
    timeout_s: float = Field(60.0, gt=0.0)
    """Longest wait for one answer."""
    attempts: int = Field(4, ge=1)
    """Tries a question, when the endpoint is down, slow, busy or broken."""
    requests_per_minute: float = Field(300.0, gt=0.0)
    concurrency: int = Field(8, ge=1)
    """Questions under way at a time."""
    structured_outputs: bool = False
    """Have a vLLM endpoint answer with exactly "left" or "right", for models too small to keep to a question. Others may refuse it."""
    price_in: float = Field(0.0, ge=0.0)
    """Price of a million tokens read, in any currency: for the cost count."""
    price_out: float = Field(0.0, ge=0.0)
    """Price of a million tokens written."""


class RewardTrainConfig(TrainJobConfig):
    """How `caig-rl reward train` makes a reward model from the files in clicks.out."""

    form: Literal["scorer", "side_by_side", "vam", "cg4ctr"] = "scorer"
    """"scorer": each creative alone. "side_by_side": the paper's. "vam" and "cg4ctr": the baselines it compares with."""
    backbone: FilePath = NANO
    """Folder of an image-text-to-text model, or "nano": the embedded policy, taught to see backgrounds. VAM and CG4CTR make small encoders
    of their own and take its tokenizer."""
    start_from: FilePath | None = None
    """A reward folder of the same form, or "nano": its training goes on with this log, head and all, and it stays the model where no epoch
    is better on the validation products. Stands in for `backbone`. Wants a low `lr`."""
    lr: float = Field(1.5e-4, gt=0.0)
    """Highest learning rate; half a cosine leads it down to a tenth. vam and cg4ctr, which start from nothing, want 1e-3; full fine-tuning
    of billions of parameters 1e-5."""
    image_size: int = Field(64, ge=32, multiple_of=32)
    """Side of each creative as the model sees it. side_by_side on "nano": 32, since two of them share a picture."""
    out: FilePath = "runs/reward"
    """Local folder for the best model; the job's checkpoints lie beside it."""

    @model_validator(mode="after")
    def _an_adapter_needs_a_language_model(self) -> RewardTrainConfig:
        if self.finetune == "lora" and self.form in ("vam", "cg4ctr"):
            raise ValueError(f"reward.train.finetune=lora: form {self.form} has no language model; use finetune=full")
        return self


class RewardConfig(_Section):
    """Who scores the creatives during training."""

    kind: Literal["model", "judge", "random", "world"] = "model"
    """"model": the folder at `model`, of whichever form it is. "judge": a model behind an endpoint. "random": scores that know nothing.
    "world": the true CTR by the click world's shoppers, the bound that no reward model can pass; for the world's own products only."""
    model: FilePath = NANO
    """Reward model folder (scorer, side_by_side, vam or cg4ctr), or "nano"."""
    architecture: str | None = None
    """For `--dry-run` where the folder is not on this machine: as `policy.architecture`."""
    judge: JudgeConfig = JudgeConfig()
    train: RewardTrainConfig = RewardTrainConfig()
    dtype: Literal["float32", "bfloat16"] = "float32"
    batch_size: int = Field(64, ge=1)
    margin: float = Field(0.02, ge=0.0)
    """Best and worst closer than this (log-odds) are a tie and teach nothing."""
