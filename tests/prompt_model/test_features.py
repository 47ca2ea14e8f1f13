"""Rows of prompts: hashed, crossed, bounded, and the same in every process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from caig_rl.prompt_model.features import MAX_PLAIN_WORDS, PHRASE_VALUE, PromptFeatures

SCRIPT = """
from caig_rl.prompt_model.features import PromptFeatures
row = PromptFeatures().rows("mug", ["on oak table, blue sky behind"])
print(row.indices.tolist())
"""


def test_rows_are_the_same_in_processes_of_different_hash_seeds() -> None:
    answers = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert answers == {f"{PromptFeatures().rows('mug', ['on oak table, blue sky behind']).indices.tolist()}\n"}


def test_a_row_holds_each_phrase_alone_and_crossed() -> None:
    row = PromptFeatures().rows("mug", ["oak table"]).toarray()[0]
    assert sorted(row[row > 0].tolist()) == [PHRASE_VALUE] * 2 + [1.0] * 4


def test_kinds_share_the_plain_half_of_a_row_and_nothing_else() -> None:
    features = PromptFeatures()
    mug, boot = (set(features.rows(kind, ["oak table"]).indices.tolist()) for kind in ("mug", "boot"))
    assert len(mug & boot) == 3


def test_the_row_for_any_product_is_the_mean_of_the_rows_of_its_kinds() -> None:
    features, text = PromptFeatures(), ["on oak table, blue sky behind"]
    mixed = features.mixed_rows({"mug": 0.75, "boot": 0.25}, text)
    mean = 0.75 * features.rows("mug", text) + 0.25 * features.rows("boot", text)
    assert abs(mixed - mean).max() == pytest.approx(0.0, abs=1e-12)


def test_a_long_sentence_has_no_larger_prior_variance_than_a_short_prompt() -> None:
    features = PromptFeatures()
    long = " ".join(f"word{index}" for index in range(200))
    plain = features.rows("mug", [" ".join(f"word{index}" for index in range(MAX_PLAIN_WORDS))])
    squares = [float(rows.power(2).sum()) for rows in (features.rows("mug", [long]), plain)]
    assert squares[0] == pytest.approx(squares[1], rel=0.02)


def test_texts_without_words_are_empty_rows_and_no_texts_no_rows() -> None:
    features = PromptFeatures()
    assert features.rows("mug", ["", "...", "oak"]).sum(axis=1).tolist() == [0.0, 0.0, 2.0]
    assert features.rows("mug", []).shape == (0, features.width)


def test_the_width_is_kept() -> None:
    rows = PromptFeatures(width=16).rows("mug", ["on oak table, blue sky behind"])
    assert rows.shape == (1, 16)
    assert rows.sum() == pytest.approx(2 * (6 + 6 * PHRASE_VALUE))
    assert np.all(rows.indices < 16)


def test_without_a_segment_rows_are_those_of_before_there_were_any() -> None:
    rows = PromptFeatures().rows("mug", ["on oak table, blue sky behind, soft light", "neon city"])
    text = "\n".join(str(pair) for pair in zip(rows.indices.tolist(), rows.data.tolist(), strict=True))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "28b556ab0bc1c662"


def test_a_segment_is_crossed_in_beside_the_kind_and_under_another_name() -> None:
    features, text = PromptFeatures(), ["oak table"]
    plain, teens, adults = (set(features.rows("mug", text, name).indices.tolist()) for name in ("", "teens", "adults"))
    assert plain == teens & adults and len(teens) == len(adults) == len(plain) * 3 // 2
    assert not features.rows("mug", text, "mug").toarray().max() > 1.0, "a segment called as a kind shares none of its columns"


def test_the_mean_row_over_segments_is_the_mean_of_their_rows() -> None:
    features, text = PromptFeatures(), ["oak table, blue sky"]
    mean = 0.75 * features.rows("mug", text, "teens") + 0.25 * features.rows("mug", text, "adults")
    mixed = features.mixed_rows({"mug": 1.0}, text, {"teens": 0.75, "adults": 0.25})
    assert abs(mixed - mean).max() < 1e-12
