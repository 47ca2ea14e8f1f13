"""The embedded policy: an Idefics3 of 2.7 M parameters with its own tokenizer, pre-trained on the world's corpus (METHOD, stage A)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor, PreTrainedTokenizerFast
from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from caig_rl.config.training import TrainJobConfig
from caig_rl.errors import UserError
from caig_rl.learning.engine import init_group
from caig_rl.learning.pretrain.sft import SftExample, SftTask, batches_of_like_length, shuffled_epochs
from caig_rl.learning.train_task import TrainTask
from caig_rl.learning.trainer import Trainer
from caig_rl.nano.autoencoder import Progress

IMAGE_SIZE = 64
BATCH_SIZE, WARMUP_STEPS, REPORT_STEPS = 48, 50, 50
PATCH_SIZE = 8
SCALE_FACTOR = 2
IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE // SCALE_FACTOR) ** 2
_SPECIAL_TOKENS = ["<unk>", "<s>", "</s>", "<pad>", "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
_CHAT_TEMPLATE = (
    "{% for message in messages %}User:{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %} {{ part['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


def train_policy_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer over the corpus, with the special tokens of the Idefics3 family."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=768, special_tokens=_SPECIAL_TOKENS, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=_SPECIAL_TOKENS[4:],
    )


def new_processor(tokenizer: PreTrainedTokenizerFast) -> Idefics3Processor:
    """Pictures of 64 px, unsplit, as 16 image tokens."""
    edge = {"longest_edge": IMAGE_SIZE}
    image_processor = Idefics3ImageProcessorPil(size=edge, max_image_size=edge, do_image_splitting=False)
    return Idefics3Processor(image_processor=image_processor, tokenizer=tokenizer, image_seq_len=IMAGE_TOKENS, chat_template=_CHAT_TEMPLATE)


def new_policy(processor: Idefics3Processor) -> Idefics3ForConditionalGeneration:
    """An untrained policy."""
    tokenizer = processor.tokenizer
    vision = Idefics3VisionConfig(
        hidden_size=128, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4, image_size=IMAGE_SIZE, patch_size=PATCH_SIZE
    )
    text = {
        "model_type": "llama",
        "vocab_size": len(tokenizer),
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 6,
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = Idefics3Config(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=SCALE_FACTOR,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    return Idefics3ForConditionalGeneration(config)


def pretrain_policy(
    corpus: list[SftExample], steps: int, seed: int, progress: Progress
) -> tuple[Idefics3ForConditionalGeneration, Idefics3Processor]:
    """Tokenizer, model, and supervised pre-training over the corpus of all task families."""
    torch.manual_seed(seed)
    processor = new_processor(train_policy_tokenizer([f"User: {e.instruction}\nAssistant:{e.answer}" for e in corpus]))
    model = new_policy(processor)
    train_steps(SftTask(model, processor), sft_batches(corpus, seed), steps, 2e-3, seed, "policy", progress)
    return model, processor


def tune_policy(
    model: Idefics3ForConditionalGeneration,
    processor: Idefics3Processor,
    corpus: list[SftExample],
    steps: int,
    seed: int,
    progress: Progress,
) -> None:
    """Close pre-training on prompt generation alone, in place. The vision tower learns on: where no text names the product it is needed."""
    train_steps(SftTask(model, processor), sft_batches(corpus, seed + 1), steps, 1e-3, seed + 1, "policy tuning", progress)


def sft_batches(corpus: list[SftExample], seed: int) -> Iterator[list[SftExample]]:
    """Endless batches of `BATCH_SIZE`."""
    return batches_of_like_length(shuffled_epochs(corpus, seed), BATCH_SIZE, seed)


def train_steps(task: TrainTask, batches: Iterator[Any], steps: int, lr: float, seed: int, stage: str, progress: Progress) -> None:
    """`steps` steps in place, by the same `Trainer` as `caig-rl pretrain`. Raises UserError after three broken steps in a row."""
    init_group(0, 1)
    config = TrainJobConfig(batch_size=BATCH_SIZE, lr=lr, warmup_share=min(WARMUP_STEPS / steps, 1.0), zero_stage=0)
    trainer = Trainer(task, config, 0, steps, seed)
    while trainer.progress.step < steps and not trainer.progress.stopped:
        trainer.train_epoch(islice(batches, min(REPORT_STEPS, steps - trainer.progress.step)))
        progress(stage, trainer.progress.step, steps, trainer.progress.train_loss)
    if trainer.progress.stopped:
        raise UserError(f"{stage}: three steps in a row had no finite loss, at step {trainer.progress.step}; lower its learning rate")
    task.module.eval()
