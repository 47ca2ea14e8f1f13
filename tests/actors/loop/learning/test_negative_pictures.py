"""The pictures that negatives take of other products: loaded once each, and a bad one costs its own negative alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from ray.exceptions import RayError

from actors.loop.learning.negative_pictures import NegativePictures, load_negative_pictures
from caig_rl.types import Admission, NegativeKind, PolicyVersion, PreferenceGroup
from tests.actors.loop.state.test_preference_buffer import make_pair_of

PLAIN = [make_pair_of(Admission(number, 0, f"p{number}", number), PolicyVersion(0, 0)) for number in range(5)]
MASKED, TEXT = PLAIN[0], replace(PLAIN[1], negative=NegativeKind.OTHER_TEXT, negative_product_id="mug", negative_instruction="a mug")


def _of(group: PreferenceGroup, product_id: str, kind: NegativeKind = NegativeKind.OTHER_PICTURE) -> PreferenceGroup:
    return replace(group, negative=kind, negative_product_id=product_id)


class Loader:
    """A block is the list of its products; those of `bad` cannot be loaded."""

    def __init__(self, *bad: str) -> None:
        self.bad, self.asked = set(bad), list[list[str]]()

    async def __call__(self, product_ids: Sequence[str]) -> Any:
        self.asked.append(list(product_ids))
        if self.bad & set(product_ids):
            raise RayError("not an image")
        return list(product_ids)


def _loaded(groups: Sequence[PreferenceGroup], loader: Loader, block_size: int = 2) -> NegativePictures:
    return asyncio.run(load_negative_pictures(groups, loader, block_size))


def _found(pictures: NegativePictures) -> list[Any]:
    blocks: Any = pictures.blocks
    return [None if place is None else blocks[place[0]][place[1]] for place in pictures.places]


def test_each_picture_is_loaded_once_in_blocks_and_found_again_by_its_groups() -> None:
    groups = [MASKED, _of(PLAIN[2], "lamp"), TEXT, _of(PLAIN[3], "hose", NegativeKind.HARD), _of(PLAIN[4], "lamp"), _of(PLAIN[1], "boot")]
    loader = Loader()
    pictures = _loaded(groups, loader)
    assert loader.asked == [["boot", "hose"], ["lamp"]]
    assert _found(pictures) == [None, "lamp", None, "hose", "lamp", "boot"] and pictures.groups == groups


def test_without_such_negatives_nothing_is_loaded() -> None:
    assert _loaded([MASKED, TEXT], loader := Loader()) == NegativePictures([MASKED, TEXT], [], [None, None])
    assert loader.asked == []


def test_a_product_whose_picture_cannot_be_loaded_costs_its_own_negative_alone(caplog: pytest.LogCaptureFixture) -> None:
    groups = [_of(PLAIN[0], "bad"), _of(PLAIN[1], "boot"), _of(PLAIN[2], "hose")]
    with caplog.at_level(logging.WARNING):
        pictures = _loaded(groups, Loader("bad"))
    assert _found(pictures) == [None, "boot", "hose"]
    assert pictures.groups == [replace(PLAIN[0], negative=NegativeKind.MASKED_IMAGE), *groups[1:]]
    assert "no picture of product bad for a negative" in caplog.text
