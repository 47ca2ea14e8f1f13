"""What a round gives the learner group beside its pairs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caig_rl.types import NegativeKind, PreferenceGroup
from tests.actors.loop.learning.test_learner_control import BlindTraining, FakeLearner, FakePipeline, Run
from tests.actors.loop.state.test_preference_buffer import V0, make_pair_of


class Training(BlindTraining):
    """One block of the products' own pictures; a block of others' is named for them."""

    def _views(self, pairs: Any) -> Any:
        return ["own"], [(0, row) for row in range(len(pairs))]

    async def _load_views(self, product_ids: Sequence[str]) -> Any:
        return list(product_ids)


def _given(root: Path, monkeypatch: pytest.MonkeyPatch, *settings: str) -> list[Any]:
    """What the learner's `train` was given for a round of two pairs, the second with another product's picture as negative."""
    monkeypatch.setattr("actors.loop.learning.round_training.ray.put", lambda value: value)
    run = Run(root, learner := FakeLearner(), FakePipeline(), *settings, training=Training)
    given = list[Any]()

    async def train(*arguments: Any) -> Any:
        given.extend(arguments)

    monkeypatch.setattr(learner, "train", train)
    pairs: list[PreferenceGroup] = [make_pair_of(one, V0) for one in run.run_state.admit_next()[0].admissions]
    pairs[1] = replace(pairs[1], negative=NegativeKind.OTHER_PICTURE, negative_product_id="p7")
    asyncio.run(run.training.train(pairs))
    return given


def test_pictures_of_other_products_stand_behind_the_products_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, blocks, places, rollouts, negative_places = _given(tmp_path, monkeypatch, "objective=pcpo_paper")
    assert (table.num_rows, blocks, places) == (2, ["own", ["p7"]], [(0, 0), (0, 1)])
    assert rollouts is None and negative_places == [None, (1, 0)]


def test_for_an_objective_without_negatives_no_picture_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _given(tmp_path, monkeypatch, "objective=pcpo")[1:] == [["own"], [(0, 0), (0, 1)], None, [None, None]]
