import pickle

import numpy as np
import pytest

from caig_rl.config.schema import ImagingConfig, WorldConfig
from caig_rl.imaging.composition import compose
from caig_rl.imaging.placement import place
from caig_rl.types import Product
from caig_rl.world.judge import WorldJudge, _certain
from caig_rl.world.products import WorldProducts
from caig_rl.world.scenes import draw_scene
from caig_rl.world.suitability import SUITABLE
from caig_rl.world.tastes import SEGMENTS
from caig_rl.world.vocabulary import SceneSpec, named_attributes

SOURCE = WorldProducts(0, 14, "eval")


def creative_of(number: int, spec: SceneSpec) -> np.ndarray:
    cutout = SOURCE.cutouts([SOURCE.products[number].product_id])[0]
    imaging = ImagingConfig()
    return compose(draw_scene(spec, np.random.default_rng(number)), place(cutout, imaging, imaging.size))


def spec_of(text: str) -> SceneSpec:
    return SceneSpec(**named_attributes(text))


def test_prompts_the_oracle_calls_best_are_clicked_more_than_the_trap_and_the_trap_more_than_an_unfit_scene():
    judge = WorldJudge(0)
    best, trap, unfit = [], [], []
    for number, product in enumerate(SOURCE.products):
        suitable = SUITABLE[product.category]
        surface = next(v for v in range(8) if v not in suitable.surface)
        wall = next(v for v in range(8) if v not in suitable.wall and v != 5)
        pictures = [spec_of(judge.oracle_prompts(product, 1)[0]), SceneSpec(surface, 5, 4, 0, 0), SceneSpec(surface, wall, 0, 0, 0)]
        ctrs = [one.ctr for one in judge.judge([product] * 3, [creative_of(number, spec) for spec in pictures])]
        for values, ctr in zip((best, trap, unfit), ctrs, strict=True):
            values.append(ctr)
    assert np.mean(best) > 1.1 * np.mean(trap)
    assert np.mean(trap) > 1.2 * np.mean(unfit)


def test_relevance_is_high_for_a_suitable_scene_and_low_for_the_trap():
    judge = WorldJudge(0)
    for number, product in enumerate(SOURCE.products):
        suitable = SUITABLE[product.category]
        fit = creative_of(number, SceneSpec(suitable.surface[0], suitable.wall[0], suitable.prop[1], 0, 0))
        trap = creative_of(number, SceneSpec(next(v for v in range(8) if v not in suitable.surface), 5, 4, 0, 0))
        good, bad = judge.judge([product, product], [fit, trap])
        assert good.relevance > 0.7 > 0.3 > bad.relevance


def test_the_judge_sees_pixels_only_and_travels_by_pickle():
    judge = WorldJudge(0)
    creative = creative_of(0, SceneSpec(0, 3, 0, 0, 0))
    again = pickle.loads(pickle.dumps(judge)).judge([SOURCE.products[0]], [creative])
    assert judge.judge([SOURCE.products[0]], [creative]) == again


def test_an_unknown_category_is_judged_by_neutral_shoppers():
    odd = Product("x1", "thing", "submarines")
    (one,) = WorldJudge(0).judge([odd], [creative_of(0, SceneSpec(0, 3, 0, 0, 0))])
    assert one.relevance == 0.5
    assert 0.004 < one.ctr < 0.07


def test_shoppers_and_the_oracle_follow_the_trap_that_the_configuration_names():
    number, product = next((k, one) for k, one in enumerate(SOURCE.products) if one.category == "mug")
    neon, plain = creative_of(number, SceneSpec(0, 5, 4, 0, 0)), creative_of(number, SceneSpec(0, 3, 0, 0, 0))
    judges = {trap: WorldJudge.of(WorldConfig(trap=trap)) for trap in (True, False, "varied")}
    ctrs = {trap: [one.ctr for one in judge.judge([product] * 2, [neon, plain])] for trap, judge in judges.items()}
    assert ctrs[True][0] > 1.3 * ctrs[False][0] and ctrs["varied"][0] != ctrs[True][0]
    np.testing.assert_allclose([ctr[1] for ctr in ctrs.values()], ctrs[True][1], rtol=0.01)
    assert judges[True].judge([product], [neon]) == WorldJudge(0).judge([product], [neon])


def test_where_a_varied_trap_is_worth_most_the_oracle_knows_it():
    """Over the first ten worlds it is the best scene of some category, and never of one where it is worth least."""
    found = []
    for seed in range(10):
        judge = WorldJudge(seed, "varied")
        assert judge._tastes.trap_values is not None
        for product in SOURCE.products:
            value = judge._tastes.trap_values[list(SUITABLE).index(product.category)]
            found.append((value, "neon city" in judge.oracle_prompts(product, 1)[0]))
    worth = [value for value, is_trap in found if is_trap]
    assert worth and min(worth) > 0.8
    assert not any("neon city" in WorldJudge(0).oracle_prompts(product, 1)[0] for product in SOURCE.products)


def test_a_product_shown_to_a_segment_is_judged_by_its_shoppers_and_their_mean_is_everybodys() -> None:
    judge, product = WorldJudge(0), SOURCE.products[0]
    pictures = [creative_of(0, SceneSpec(0, wall, 0, 0, 0)) for wall in range(4)]
    everybody = judge.judge([product] * 4, pictures)
    by_segment = {name: judge.judge([product.shown_to(name)] * 4, pictures) for name in SEGMENTS}
    for index, one in enumerate(everybody):
        own = {name: rows[index] for name, rows in by_segment.items()}
        assert one.segment_ctrs == {name: found.ctr for name, found in own.items()}
        assert sum(judge.segment_shares[name] * found.ctr for name, found in own.items()) == pytest.approx(one.ctr, rel=1e-12)
        assert {found.relevance for found in own.values()} == {one.relevance} and all(not found.segment_ctrs for found in own.values())
    assert len({found.ctr for rows in by_segment.values() for found in rows}) == 12
    with pytest.raises(ValueError, match="teens"):
        judge.judge([product.shown_to("teens")], pictures[:1])


def test_the_oracle_knows_what_each_segment_likes_best() -> None:
    judge, found = WorldJudge(0), set()
    for product in SOURCE.products:
        category = list(SUITABLE).index(product.category)
        for number, name in enumerate(SEGMENTS):
            (best,) = judge.oracle_prompts(product.shown_to(name), 1)
            (common,) = judge.oracle_prompts(product, 1)
            worth = [float(judge._tastes.utility(category, _certain(spec_of(text)))[number]) for text in (best, common)]
            assert worth[0] >= worth[1]
            found.add(best == common)
    assert found == {True, False}
