"""Prompts and answers as rows of one forward pass. Answers to one prompt may share its row: prompt and picture then run once.

In a shared row the answers stand one behind the other; a mask of positions against positions lets each see the prompt and itself alone,
and each counts its positions from the prompt's end. What the model computes of an answer is what it would compute of it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import Idefics3Processor, ProcessorMixin

from caig_rl.models.prompting import EncodedPrompts


@dataclass(frozen=True, slots=True)
class AnswerBatch:
    """S answers in R rows of prompt and answers, ready for one forward pass."""

    inputs: dict[str, torch.Tensor]
    """The model's keyword arguments: `input_ids` (R, L), the pictures, and `attention_mask` (R, L); where rows are shared (R, 1, L, L),
    bool, with `position_ids` (R, L)."""
    rows: torch.Tensor
    """(S,) int64: the row of each answer."""
    steps: torch.Tensor
    """(S, T) int64: the position in its row whose logits tell each answer token; behind an answer's end, its last."""
    answers: torch.Tensor
    """(S, T) answer token ids, 0 behind their end."""
    mask: torch.Tensor
    """(S, T) bool: True on the answer's tokens."""


def shares_prompts(processor: ProcessorMixin) -> bool:
    """Whether answers to one prompt may share a row: for the models on which that was tested to be exact. Others compute positions of their
    own from a two-dimensional mask."""
    return isinstance(processor, Idefics3Processor)


def collate_answers(encoded: EncodedPrompts, answers: Sequence[tuple[int, ...]], processor: ProcessorMixin) -> AnswerBatch:
    """A row for each prompt, with its one answer behind it; right-padded.

    Raises:
        ValueError: an empty answer, or as many answers as prompts are not given.
    """
    if len(answers) != len(encoded.token_ids):
        raise ValueError(f"{len(answers)} answers for {len(encoded.token_ids)} prompts")
    _check_answers(answers)
    rows = [[*ids, *answer] for ids, answer in zip(encoded.token_ids, answers, strict=True)]
    inputs = {"input_ids": pad_token_rows(rows, _padding(processor)), "attention_mask": pad_token_rows([[1] * len(row) for row in rows], 0)}
    length = inputs["input_ids"].shape[1]
    for name, values in encoded.token_types.items():
        inputs[name] = pad_token_rows([*values, [0] * length], 0)[:-1]
    starts = [len(ids) for ids in encoded.token_ids]
    return _batch({**inputs, **encoded.pictures}, list(range(len(rows))), [(start, start) for start in starts], answers)


def collate_shared(
    encoded: EncodedPrompts, answers: Sequence[tuple[int, ...]], owners: Sequence[int], processor: ProcessorMixin
) -> AnswerBatch:
    """A row for each prompt, with all its answers behind it; right-padded.

    Args:
        encoded: R prompts.
        answers: S answers.
        owners: S numbers of prompts; each prompt has an answer.
        processor: one that `shares_prompts`.

    Raises:
        ValueError: an empty answer.
    """
    _check_answers(answers)
    rows, places = [list(ids) for ids in encoded.token_ids], []
    for answer, owner in zip(answers, owners, strict=True):
        places.append((len(encoded.token_ids[owner]), len(rows[owner])))
        rows[owner] += answer
    input_ids = pad_token_rows(rows, _padding(processor))
    count, length = input_ids.shape
    # Padding sees itself alone: a row of the mask without any position has no soft-max.
    sees = torch.eye(length, dtype=torch.bool).repeat(count, 1, 1)
    position_ids = torch.zeros_like(input_ids)
    for row, ids in enumerate(encoded.token_ids):
        sees[row, : len(ids), : len(ids)] = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
        position_ids[row, : len(ids)] = torch.arange(len(ids))
    for answer, owner, (start, place) in zip(answers, owners, places, strict=True):
        end = place + len(answer)
        sees[owner, place:end, :start] = True
        sees[owner, place:end, place:end] = torch.ones(len(answer), len(answer), dtype=torch.bool).tril()
        position_ids[owner, place:end] = torch.arange(start, start + len(answer))
    inputs = {"input_ids": input_ids, "attention_mask": sees[:, None], "position_ids": position_ids}
    return _batch({**inputs, **encoded.pictures}, owners, places, answers)


def _batch(
    inputs: dict[str, torch.Tensor], rows: Sequence[int], places: Sequence[tuple[int, int]], answers: Sequence[tuple[int, ...]]
) -> AnswerBatch:
    """`places[s]` is where answer s's prompt ends and where the answer itself begins, in its row."""
    longest = max(len(answer) for answer in answers)
    steps = [
        [start - 1, *range(place, place + len(answer) - 1), *[place + len(answer) - 1] * (longest - len(answer))]
        for answer, (start, place) in zip(answers, places, strict=True)
    ]
    return AnswerBatch(
        inputs=inputs,
        rows=torch.tensor(rows, dtype=torch.long),
        steps=torch.tensor(steps, dtype=torch.long),
        answers=pad_token_rows([list(answer) for answer in answers], 0),
        mask=pad_token_rows([[1] * len(answer) for answer in answers], 0).bool(),
    )


def pad_token_rows(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """(B, L) int64: `rows` of unequal length, filled up with `value` on the right."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)


def _padding(processor: ProcessorMixin) -> int:
    pad = processor.tokenizer.pad_token_id
    return int(pad) if pad is not None else 0


def _check_answers(answers: Sequence[tuple[int, ...]]) -> None:
    if not all(answers):
        raise ValueError(f"answer {[len(answer) for answer in answers].index(0)} has no tokens")
