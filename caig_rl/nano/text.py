"""The renderer's words: a tokenizer over captions and a small CLIP text encoder, trained with the UNet."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from caig_rl.world.vocabulary import ATTRIBUTES, TEMPLATES

MAX_PROMPT_TOKENS = 40
"""Longest prompt the renderer reads, start and end token included."""
TEXT_WIDTH = 128


def train_renderer_tokenizer(captions: Sequence[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer over `captions`, that opens and closes each prompt as CLIP's does."""
    special = ["<pad>", "<start>", "<end>", "<unk>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(captions, trainers.BpeTrainer(vocab_size=448, special_tokens=special, initial_alphabet=alphabet))
    tokenizer.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unk>",
        model_max_length=MAX_PROMPT_TOKENS,
    )


def all_phrases() -> list[str]:
    """Every phrase of the vocabulary and every template, repeated so that BPE learns whole words."""
    phrases = [phrase for words in ATTRIBUTES.values() for phrase in words]
    return (phrases + list(TEMPLATES)) * 20


def new_text_encoder(vocab_size: int) -> CLIPTextModel:
    """An untrained two-layer CLIP text encoder."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_PROMPT_TOKENS,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
