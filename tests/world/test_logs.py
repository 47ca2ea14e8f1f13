import numpy as np
import pytest

from caig_rl.world.judge import WorldJudge
from caig_rl.world.logs import LOG_SCHEMA, POSITION_FACTORS, by_creative, click_log
from caig_rl.world.products import WorldProducts
from caig_rl.world.scenes import draw_scene
from caig_rl.world.tastes import SEGMENTS
from caig_rl.world.vocabulary import draw_spec


def _log(impressions: int, seed: int):
    rng = np.random.default_rng(0)
    products = list(WorldProducts(0, 4).products) * 2
    creatives = [draw_scene(draw_spec(rng), rng) for _ in products]
    judge = WorldJudge(0)
    return judge, products, creatives, click_log(judge, products, creatives, [f"c{k}" for k in range(8)], impressions, seed)


def test_clicks_follow_the_true_rate_times_the_mean_position_effect():
    judge, products, creatives, log = _log(2_000_000, 1)
    assert log.schema == LOG_SCHEMA
    total = by_creative(log)
    observed = total.column("clicks").to_numpy() / total.column("impressions").to_numpy()
    expected = np.array([one.ctr for one in judge.judge(products, creatives)]) * np.mean(POSITION_FACTORS)
    np.testing.assert_allclose(observed, expected, rtol=0.03)
    assert total.column("impressions").to_pylist() == [2_000_000] * 8


def test_the_same_seed_gives_the_same_log():
    assert _log(5000, 3)[3].equals(_log(5000, 3)[3])
    assert not _log(5000, 3)[3].equals(_log(5000, 4)[3])


def test_no_row_has_more_clicks_than_impressions():
    log = _log(50, 2)[3]
    assert (log.column("clicks").to_numpy() <= log.column("impressions").to_numpy()).all()


def test_the_segments_parts_add_up_to_the_whole():
    log = _log(5000, 1)[3]
    whole, parts = by_creative(log), [by_creative(log, name) for name in SEGMENTS]
    for name in ("impressions", "clicks"):
        assert sum(part[name].to_numpy() for part in parts).tolist() == whole[name].to_pylist()
    assert [float(part["impressions"].to_numpy().mean()) for part in parts] == pytest.approx([2250, 1750, 1000], rel=0.05)
