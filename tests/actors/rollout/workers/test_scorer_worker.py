from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import ray

from actors.chaos.worker_orders import give_no_number
from actors.rollout.shard import evaluation_shards, make_shards
from actors.rollout.workers.scorer_worker import ScorerWorker, random_scores
from caig_rl.config.schema import Config
from caig_rl.errors import ConfigError
from caig_rl.models.reward.interface import RewardError
from caig_rl.types import ImageArray, Product
from tests.actors.fakes import BrightnessJudge
from tests.models.fake_endpoint import brighter_side, serve

PRODUCTS = [Product(name, name, "mugs") for name in ("a", "b", "c")]
SHARD = make_shards(PRODUCTS, [11, 12, 13], 0, 0, shard_size=3)[0]
RANDOM = Config.model_validate({"reward": {"kind": "random"}})


class _MeanScorer:
    """Scores by the mean grey level; cannot score product "b"."""

    def score(self, products: Sequence[Product], creatives: Sequence[ImageArray], batch_size: int) -> np.ndarray:
        if any(product.product_id == "b" for product in products):
            raise RewardError(["b"])
        return np.array([creative.mean() for creative in creatives], dtype=np.float32)


def test_random_scores_know_the_admission_and_the_candidate_alone() -> None:
    assert random_scores(5, 4) == random_scores(5, 4)
    assert random_scores(5, 4)[:2] == random_scores(5, 2)
    assert len({*random_scores(5, 4), *random_scores(6, 4)}) == 8


def test_the_control_experiment_scores_without_looking_at_a_creative() -> None:
    reply, _ = ScorerWorker(RANDOM).score(SHARD, [], [[True, False], [True, True], [False, False]])
    assert np.isnan(reply.scores[0][1]) and np.isnan(reply.scores[2]).all()
    assert reply.scores[1] == tuple(random_scores(12, 2))


def test_a_score_that_is_no_number_costs_its_product_alone_and_once(cluster: None, tiny_config: Config) -> None:
    """A real reward model, spoilt as fault injection does it."""
    worker = ScorerWorker(tiny_config)
    give_no_number(worker)
    creatives = ray.put([np.full((2, 64, 64, 3), value, dtype=np.uint8) for value in (10, 20, 30)])
    usable = [[True, True]] * 3
    spoilt, _ = worker.score(SHARD, [creatives], usable)
    assert list(spoilt.failed) == [0] and np.isfinite(spoilt.scores[1:]).all()
    sound, _ = worker.score(SHARD, [creatives], usable)
    assert sound.failed == {} and np.isfinite(sound.scores).all()


def test_a_product_without_a_reward_fails_alone(cluster: None) -> None:
    worker = ScorerWorker(RANDOM)
    worker._scorer = _MeanScorer()  # type: ignore[assignment]
    creatives = ray.put([np.full((2, 4, 4, 3), value, dtype=np.uint8) for value in (10, 20, 30)])
    reply, _ = worker.score(SHARD, [creatives], [[True, True], [True, True], [True, False]])
    assert list(reply.failed) == [1] and "product(s) b" in reply.failed[1]
    assert reply.scores[0] == pytest.approx((10.0, 10.0)) and reply.scores[2][0] == pytest.approx(30.0)
    assert np.isnan(reply.scores[1]).all() and np.isnan(reply.scores[2][1])


def test_a_judge_behind_an_endpoint_scores_in_the_worker_as_any_model_does(cluster: None) -> None:
    with serve(brighter_side) as endpoint:
        judge = {"url": endpoint.url, "model": "some-vlm", "image_size": 16, "requests_per_minute": 60_000}
        worker = ScorerWorker(Config.model_validate({"reward": {"kind": "judge", "judge": judge}}))
        blocks = ray.put([np.stack([np.full((16, 16, 3), value, np.uint8) for value in (30, 200)])] * 3)
        reply, _ = worker.score(SHARD, [blocks], [[True, True], [True, True], [True, False]])
    assert reply.failed == {}
    assert reply.scores[0][1] - reply.scores[0][0] == pytest.approx(1.0)


def test_a_judge_without_a_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"reward\.judge\.model"):
        ScorerWorker(Config.model_validate({"reward": {"kind": "judge"}}))


class _DarknessGuard:
    """Scores the dark high; cannot score product "a"."""

    def score(self, products: Sequence[Product], creatives: Sequence[ImageArray], batch_size: int) -> np.ndarray:
        if any(product.product_id == "a" for product in products):
            raise RewardError(["a"])
        return np.array([-creative.mean() for creative in creatives], dtype=np.float32)


def _guarded_worker() -> ScorerWorker:
    worker = ScorerWorker(RANDOM)
    worker._scorer, worker._guard = _MeanScorer(), _DarknessGuard()  # type: ignore[assignment]
    return worker


def test_the_guard_scores_what_has_a_reward_and_where_it_cannot_the_product_lacks_its_number_alone(cluster: None) -> None:
    creatives = ray.put([np.full((2, 4, 4, 3), value, dtype=np.uint8) for value in (10, 20, 30)])
    reply, _ = _guarded_worker().score(SHARD, [creatives], [[True, True], [True, True], [True, False]])
    assert list(reply.failed) == [1], "the reward model could not score b; the guard could not score a"
    assert reply.scores[0] == pytest.approx((10.0, 10.0)) and np.isnan(reply.guard_of(0)).all()
    assert np.isnan(reply.guard_of(1)).all() and reply.guard_of(2)[0] == pytest.approx(-30.0) and np.isnan(reply.guard_of(2)[1])


def test_the_guard_does_not_look_at_what_only_measures_a_policy(cluster: None) -> None:
    creatives = ray.put([np.full((1, 4, 4, 3), value, dtype=np.uint8) for value in (10, 30)])
    (measured,) = evaluation_shards([PRODUCTS[0], PRODUCTS[2]], 2, run_seed=0)
    reply, _ = _guarded_worker().score(measured, [creatives], [[True], [True]])
    assert reply.scores == ((10.0,), (30.0,)) and reply.guard == () and reply.guard_of(1) == ()


def test_the_guard_that_the_config_names_scores_beside_a_coin_too(cluster: None, tiny_config: Config) -> None:
    named = {"reward": {"kind": "random"}, "guard": {"reward": tiny_config.reward.model}}
    creatives = ray.put([np.full((2, 64, 64, 3), value, dtype=np.uint8) for value in (10, 20, 30)])
    reply, _ = ScorerWorker(Config.model_validate(named)).score(SHARD, [creatives], [[True, True]] * 3)
    plain, _ = ScorerWorker(tiny_config).score(SHARD, [creatives], [[True, True]] * 3)
    assert reply.guard == plain.scores and reply.scores[0] == tuple(random_scores(11, 2))


def test_the_worlds_own_reward_is_the_judges_log_odds(cluster: None) -> None:
    worker = ScorerWorker(Config.model_validate({"reward": {"kind": "world"}}), BrightnessJudge())
    blocks = [np.stack([np.full((4, 4, 3), value, np.uint8) for value in (30, 200)])] * 3
    reply, _ = worker.score(SHARD, [ray.put(blocks)], [[True, True], [True, False], [True, True]])
    dark, light = (one.ctr for one in BrightnessJudge().judge(PRODUCTS[:2], [blocks[0][0], blocks[0][1]]))
    assert reply.scores[0] == pytest.approx((np.log(dark / (1 - dark)), np.log(light / (1 - light))), abs=1e-5)
    assert np.isnan(reply.scores[1][1])


def test_the_worlds_own_reward_without_a_judge_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"reward\.kind=world asks the run's judge"):
        ScorerWorker(Config.model_validate({"reward": {"kind": "world"}}))
