import pickle

import numpy as np

from caig_rl.config.schema import ImagingConfig
from caig_rl.imaging.composition import compose
from caig_rl.imaging.placement import place
from caig_rl.types import Product
from caig_rl.world.judge import WorldJudge
from caig_rl.world.products import WorldProducts
from caig_rl.world.scenes import draw_scene
from caig_rl.world.suitability import SUITABLE
from caig_rl.world.vocabulary import SceneSpec, named_attributes

SOURCE = WorldProducts(0, 14, "eval")


def creative_of(number: int, spec: SceneSpec) -> np.ndarray:
    cutout = SOURCE.cutouts([SOURCE.products[number].product_id])[0]
    imaging = ImagingConfig()
    return compose(draw_scene(spec, np.random.default_rng(number)), place(cutout, imaging, imaging.size), imaging)


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
