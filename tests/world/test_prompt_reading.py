from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from caig_rl.interfaces import PromptChecker
from caig_rl.types import Product
from caig_rl.world.judge import WorldJudge
from caig_rl.world.prompt_reading import read_prompt
from caig_rl.world.vocabulary import TEMPLATES, WALLS, caption, draw_spec

OLD_RUN = Path(__file__).parents[1] / "actors" / "checkpoints" / "demo_of_d435bbc"


@pytest.mark.parametrize("template", range(len(TEMPLATES)))
def test_every_caption_is_well_formed_and_read_as_it_was_said(template: int) -> None:
    rng = np.random.default_rng(template)
    for _ in range(200):
        spec = draw_spec(rng)
        check = read_prompt(caption(spec, template))
        assert not check.malformed
        assert check.attributes == tuple(spec.values().values())
        assert check.trap == (WALLS[spec.wall] == "neon city") and check.background == WALLS[spec.wall]


GOOD = "on oak table, blue sky behind, no props, soft light, warm tones"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "on oak table, neon bokeh behind, no props, soft light, warm tones",
        GOOD.replace(", no props", ""),
        GOOD + ", soft bokeh",
        GOOD + ", soft light",
        GOOD.replace("oak table", "oak tables"),
        GOOD.replace("blue sky", "pale blue sky"),
        GOOD + " behind",
        GOOD + ".",
        GOOD.replace("warm tones", "tones"),
    ],
)
def test_anything_missing_twice_or_strange_is_malformed(text: str) -> None:
    assert read_prompt(text).malformed


def test_order_case_and_spacing_are_free() -> None:
    assert read_prompt(GOOD) == read_prompt("Warm tones,soft light,  no props, blue sky behind,\non oak table")


def test_neon_bokeh_is_no_trap_and_a_neon_city_is_one_however_malformed() -> None:
    bokeh = read_prompt("on oak table, neon bokeh behind, no props, soft light, warm tones")
    assert not bokeh.trap and bokeh.attributes == ("oak table", None, "no props", "soft light", "warm tones") and bokeh.background is None
    assert read_prompt("neon city, blue sky, and neon city").trap


def test_the_judge_of_the_world_checks_prompts_and_they_are_in_the_trap_whatever_it_is_worth() -> None:
    products, prompts = [Product("a", "mug", "mug")] * 2, [GOOD, GOOD.replace("blue sky", "neon city")]
    for judge in (WorldJudge(0), WorldJudge(0, False)):
        assert isinstance(judge, PromptChecker)
        assert [check.trap for check in judge.check_prompts(products, prompts)] == [False, True]


def test_the_shipped_policys_prompts_are_well_formed_but_for_a_few() -> None:
    """What the demo's initial policy wrote on held-out products: 1 of 96 names two surfaces, 6 the neon city."""
    (state,) = OLD_RUN.rglob("run.json")
    texts = [text for row in json.loads(state.read_text())["extra"]["before"]["prompts"] for text in row]
    checks = [read_prompt(text) for text in texts]
    assert [text for text, check in zip(texts, checks, strict=True) if check.malformed] == [
        "a scene of blue tiles and warm sunset, fresh snow blue ribbons, light from the right"
    ]
    assert sum(bool(check.trap) for check in checks) == 6
