"""Shares of segments, the draw of one, and its name in every text; without segments nothing is as it was not."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from caig_rl.config.load import load_config
from caig_rl.data.instructions import NANO_LIMITS, WORDINGS, Task, instruction
from caig_rl.errors import ConfigError
from caig_rl.models.reward.encoders import EncoderReward, EncoderSpec
from caig_rl.models.reward.scorer import RewardScorer, RewardSpec
from caig_rl.models.reward.side_by_side import SideBySideReward, SideBySideSpec
from caig_rl.segments import EVERYBODY, drawn_segment, segment_shares
from caig_rl.types import Product
from caig_rl.world.judge import WorldJudge
from caig_rl.world.products import WorldProducts
from caig_rl.world.tastes import SEGMENT_SHARES, SEGMENTS
from tests.actors.fakes import BrightnessJudge

MUG = Product("p1", "Red ceramic mug", "Kitchen", "Holds 300 ml.")
NAMED = "segments.names=[bargain hunters, style seekers, gift givers]"


def digest(values: Iterable[object]) -> str:
    return hashlib.sha256("\n".join(map(str, values)).encode()).hexdigest()[:16]


def test_without_segments_every_instruction_is_the_one_of_before_there_were_any() -> None:
    products = WorldProducts(0, 20).products
    assert digest(instruction(task, product, seed) for task in Task for product in products for seed in range(20)) == "fa60774f61d0a3a6"


def test_all_ten_wordings_name_the_segment_at_their_end_alike() -> None:
    for seed in range(60):
        plain, named = (instruction(Task.PROMPT_GENERATION, one, seed) for one in (MUG, MUG.shown_to("style seekers")))
        assert named == f"{plain} Shoppers: style seekers."


def test_of_a_long_description_and_a_segment_the_description_gives_way() -> None:
    long = Product("p", "word " * 2000, "家具" * 500, "x" * 10_000).shown_to("s" * 24)
    words = NANO_LIMITS.title + NANO_LIMITS.category + NANO_LIMITS.description_and_segment
    limit = words + max(len(text) for text in WORDINGS[Task.PROMPT_GENERATION])
    texts = [instruction(Task.PROMPT_GENERATION, long, seed) for seed in range(60)]
    assert all(len(text.encode()) <= limit and text.endswith(f"{'s' * 24}.") for text in texts)


def test_no_product_of_the_world_loses_a_word_to_its_segment() -> None:
    for product in WorldProducts(0, 200).products:
        for segment in SEGMENTS:
            assert instruction(Task.PROMPT_GENERATION, product, 0) in instruction(Task.PROMPT_GENERATION, product.shown_to(segment), 0)


@pytest.mark.parametrize(
    ("model", "spec"),
    [(RewardScorer, RewardSpec(64)), (SideBySideReward, SideBySideSpec(64)), (EncoderReward, EncoderSpec("cg4ctr", 64))],
)
def test_reward_models_read_the_segment_as_the_policy_does(model: Any, spec: Any) -> None:
    plain, named = (model.text_of(SimpleNamespace(spec=spec), one) for one in (MUG, MUG.shown_to("gift givers")))
    assert plain == " ".join(spec.text_template.format(title=MUG.title, category=MUG.category, description=MUG.description).split())
    assert named == f"{plain} Shoppers: gift givers."


def test_the_shares_are_those_of_the_shoppers_that_judge() -> None:
    judge = WorldJudge(0)
    assert segment_shares(load_config(None, [NAMED]), judge) == pytest.approx(dict(zip(SEGMENTS, SEGMENT_SHARES, strict=True)))
    some = segment_shares(load_config(None, ["segments.names=[style seekers, gift givers]"]), judge)
    assert some == pytest.approx({"style seekers": 0.35 / 0.55, "gift givers": 0.20 / 0.55})
    assert segment_shares(load_config(None), judge) == EVERYBODY


def test_where_nobody_knows_shares_they_are_equal() -> None:
    config = load_config(None, ["segments.names=[teens, adults]"])
    for judge in (None, BrightnessJudge()):
        assert segment_shares(config, judge) == {"teens": 0.5, "adults": 0.5}


def test_a_segment_that_the_shoppers_do_not_have_is_refused_with_theirs() -> None:
    with pytest.raises(ConfigError, match=r"no segment 'teens'; theirs are bargain hunters, style .*world\.judge=false"):
        segment_shares(load_config(None, ["segments.names=[style seekers, teens]"]), WorldJudge(0))


@pytest.mark.parametrize(
    ("names", "words"), [("[a, a]", "'a' is named twice"), ("['']", "'' is none"), ("['a  b']", "one space"), (f"[{'x' * 25}]", "1 to 24")]
)
def test_names_that_are_none_are_refused(names: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(None, [f"segments.names={names}"])


def test_segments_are_drawn_by_their_shares_and_the_seed_decides() -> None:
    shares = dict(zip(SEGMENTS, SEGMENT_SHARES, strict=True))
    drawn = [drawn_segment(shares, seed) for seed in range(4000)]
    assert drawn == [drawn_segment(shares, seed) for seed in range(4000)]
    counts = Counter(drawn)
    assert {name: counts[name] / 4000 for name in shares} == pytest.approx(shares, abs=0.03)
    assert drawn_segment(EVERYBODY, 7) == ""
