"""The policy's vLLM engine, in this process: sampling prompts, scoring given ones, and taking new weights while it stays up."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import safe_open
from transformers import AutoProcessor

from caig_rl.config.schema import PolicyConfig
from caig_rl.errors import ModelFolderError
from caig_rl.models.prompting import chat_prompt, encode_prompts
from caig_rl.types import ImageArray, Rollout


class WeightsError(Exception):
    """Weights that do not fit the model the engine runs: a tensor is missing, unknown, or of another shape."""


def prepare_environment(config: PolicyConfig, threads: int) -> dict[str, str]:
    """Environment variables that vLLM reads when it is imported: set them before the process imports vLLM or torch."""
    common = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": str(threads),
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    if torch.cuda.is_available():
        return common
    return common | {
        "VLLM_CPU_KVCACHE_SPACE": str(config.kv_cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # The first request with log-probs would otherwise compile for seconds.
        "TORCHDYNAMO_DISABLE": "1",
    }


class PolicyEngine:
    """A vLLM engine over one model folder. One a process: vLLM keeps global state."""

    def __init__(self, folder: Path, config: PolicyConfig, threads: int) -> None:
        """Load `folder` (Hugging Face layout, safetensors) and answer one request, so that later ones pay no start-up.

        Raises:
            ModelFolderError: the folder holds no safetensors.
        """
        os.environ.update(prepare_environment(config, threads))
        torch.set_num_threads(threads)
        from vllm import LLM  # after the environment: vLLM reads it on import

        self.expected_shapes = _checkpoint_shapes(folder)
        self._config = config
        self._processor: Any = AutoProcessor.from_pretrained(folder, trust_remote_code=config.trust_remote_code, local_files_only=True)
        # Sampled inside an answer, a picture token would be read by the learner as a picture that is not there.
        placeholders = (getattr(self._processor, name, None) for name in ("image_token_id", "video_token_id"))
        self._never_sampled = {token: -100.0 for token in placeholders if token is not None}
        self._llm: Any = LLM(
            str(folder),
            dtype=config.dtype,
            trust_remote_code=config.trust_remote_code,
            max_model_len=config.max_model_len,
            gpu_memory_utilization=config.gpu_memory_utilization,
            enforce_eager=not torch.cuda.is_available(),
            # A cached prefix changes the last bit of a log-prob; on a CPU a repeatable run is worth more than the saved prefill.
            enable_prefix_caching=torch.cuda.is_available(),
            # A prompt cut in two makes vLLM wind a seeded request's generator back, which CPU generators cannot.
            enable_chunked_prefill=torch.cuda.is_available(),
            skip_mm_profiling=True,
            limit_mm_per_prompt={"image": 1},
        )
        blank = torch.full((config.image_size, config.image_size, 3), 236, dtype=torch.uint8).numpy()
        self.generate([self.prompt("warm-up")], [blank], [0], 1)

    def prompt(self, instruction: str) -> str:
        """The chat prompt of one instruction, as the learner sees it too."""
        return chat_prompt(self._processor, instruction)

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of `text` as an answer, without end token."""
        return tuple(self._processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def generate(self, prompts: Sequence[str], images: Sequence[ImageArray], seeds: Sequence[int], n: int) -> list[list[Rollout]]:
        """Sample `n` answers to each prompt over its image (size, size, 3); sample j of prompt i depends on `seeds[i] + j` alone.

        Log-probs are at temperature 1 and over the whole vocabulary, whatever the sampling does, as the learner computes them.

        Raises:
            ValueError: the lists differ in length.
            RuntimeError: vLLM read other tokens than the learner will (an image that was not expanded, another template).
        """
        from vllm import SamplingParams

        if not len(prompts) == len(images) == len(seeds):
            raise ValueError(f"{len(prompts)} prompts, {len(images)} images and {len(seeds)} seeds: one of each a request")
        config = self._config
        shared: dict[str, Any] = {"n": n, "temperature": config.temperature, "top_p": config.top_p, "max_tokens": config.max_tokens}
        sampling = [SamplingParams(seed=seed, logprobs=0, logit_bias=self._never_sampled, **shared) for seed in seeds]
        requests = [
            {"prompt": prompt, "multi_modal_data": {"image": Image.fromarray(image)}} for prompt, image in zip(prompts, images, strict=True)
        ]
        answers = self._llm.generate(requests, sampling, use_tqdm=False)
        expected = encode_prompts(self._processor, prompts, images).token_ids
        for answer, token_ids in zip(answers, expected, strict=True):
            _check_prompt(answer.prompt_token_ids, token_ids)
        return [[_rollout(output) for output in answer.outputs] for answer in answers]

    def log_probs(self, prompt: str, image: ImageArray, token_ids: Sequence[int]) -> tuple[float, ...]:
        """Natural-log probabilities, at temperature 1, of the given answer tokens after `prompt` over `image`."""
        from vllm import SamplingParams

        scored = [*self._processor.tokenizer(prompt)["input_ids"], *token_ids]
        request = {"prompt_token_ids": scored, "multi_modal_data": {"image": Image.fromarray(image)}}
        answer = self._llm.generate([request], SamplingParams(max_tokens=1, prompt_logprobs=0), use_tqdm=False)[0]
        _check_prompt(answer.prompt_token_ids, [*encode_prompts(self._processor, [prompt], [image]).token_ids[0], *token_ids])
        tail = answer.prompt_logprobs[-len(token_ids) :]
        return tuple(position[token].logprob for position, token in zip(tail, token_ids, strict=True))

    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Replace all weights in place, under the names of the folder's checkpoint, and drop every cache made by the old ones.

        Raises:
            WeightsError: a tensor is missing, unknown, or of another shape; the engine keeps the weights it had.
        """
        check_weights(weights, self.expected_shapes)
        engine = self._llm.llm_engine
        engine.model_executor.driver_worker.model_runner.reload_weights(weights_iterator=iter(weights.items()))
        engine.reset_encoder_cache()
        engine.reset_mm_cache()
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("vLLM kept its prefix cache over a change of weights: requests are still running")

    def close(self) -> None:
        """Free the engine. The object cannot be used after."""
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        gc.collect()


def check_weights(weights: Mapping[str, torch.Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise WeightsError, naming the first tensor, unless `weights` has exactly the names and shapes of `expected`."""
    for name, shape in expected.items():
        if name not in weights:
            raise WeightsError(f"tensor {name!r} {shape} is missing from the new weights ({len(weights)} of {len(expected)} came)")
        if tuple(weights[name].shape) != shape:
            raise WeightsError(f"tensor {name!r} has shape {tuple(weights[name].shape)}, the model wants {shape}")
    unknown = sorted(set(weights) - set(expected))
    if unknown:
        raise WeightsError(f"tensor {unknown[0]!r} is not one of the model's ({len(unknown)} unknown)")


def _checkpoint_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    files = sorted(Path(folder).glob("model*.safetensors"))
    if not files:
        raise ModelFolderError(f"{folder} holds no model*.safetensors; save the model with safetensors weights")
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118 (not a dict)
    return shapes


def _check_prompt(seen: Sequence[int], expected: Sequence[int]) -> None:
    if list(seen) != list(expected):
        raise RuntimeError(
            f"vLLM read a prompt of {len(seen)} tokens where the learner reads {len(expected)}: "
            "the image was not expanded, or template and processor differ"
        )


def _rollout(output: Any) -> Rollout:
    logprobs = tuple(position[token].logprob for position, token in zip(output.logprobs, output.token_ids, strict=True))
    return Rollout(output.text.strip(), tuple(output.token_ids), logprobs)
