from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from actors.loop.state.admission import ProductCursor, admit_round
from actors.rollout.shard import Shard, Stream, derived_seed, evaluation_shards, regroup
from caig_rl.segments import EVERYBODY, Shares
from caig_rl.types import Product

PRODUCTS = [Product(f"p{i}", f"title {i}", "mugs") for i in range(10)]


def _ids(shards: list[Shard]) -> list[int]:
    return [admission.admission_id for shard in shards for admission in shard.admissions]


def test_a_pass_over_the_products_takes_each_once() -> None:
    cursor = ProductCursor(10, seed=0)
    assert sorted(cursor.take(4) + cursor.take(6)) == list(range(10))


def test_every_pass_has_its_own_order_and_the_seed_decides_it() -> None:
    first, second = ProductCursor(50, seed=0), ProductCursor(50, seed=0)
    assert first.take(50) == second.take(50)
    assert first.take(50) != ProductCursor(50, seed=0).take(50)
    assert ProductCursor(50, seed=1).take(50) != ProductCursor(50, seed=0).take(50)


def test_a_round_across_two_passes_holds_no_product_twice() -> None:
    for seed in range(20):
        cursor = ProductCursor(5, seed)
        cursor.take(3)
        assert len(set(cursor.take(4))) == 4


def test_a_cursor_goes_on_from_its_position() -> None:
    whole = ProductCursor(10, seed=3)
    whole.take(7)
    assert ProductCursor(10, seed=3, position=whole.position).take(6) == whole.take(6)


def test_more_products_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="a round of 6 different products from a catalog of 5"):
        ProductCursor(5, 0).take(6)


def test_a_round_is_cut_into_shards_of_rising_admission_ids() -> None:
    shards = admit_round(PRODUCTS, ProductCursor(10, 0), 2, first_id=20, count=7, shard_size=3, run_seed=0)
    assert [len(shard.admissions) for shard in shards] == [3, 3, 1]
    assert _ids(shards) == list(range(20, 27))
    assert all(admission.round == 2 for shard in shards for admission in shard.admissions)
    assert all(one.product_id == other.product_id for shard in shards for one, other in zip(shard.admissions, shard.products, strict=True))


def test_a_catalog_smaller_than_a_round_is_admitted_whole() -> None:
    shards = admit_round(PRODUCTS, ProductCursor(10, 0), 0, first_id=0, count=64, shard_size=8, run_seed=0)
    assert len(_ids(shards)) == 10


def test_seeds_differ_between_streams_admissions_and_runs_and_fit_the_engine() -> None:
    seeds = {derived_seed(stream, run, admission) for stream in Stream for run in range(3) for admission in range(50)}
    assert len(seeds) == len(Stream) * 150
    assert all(0 <= seed < 2**62 for seed in seeds)
    assert derived_seed(Stream.NOISE, 0, 1) == derived_seed(Stream.NOISE, 0, 1)


def test_admissions_of_a_checkpoint_fall_into_the_shards_they_were_cut_into() -> None:
    cursor, by_id = ProductCursor(10, 0), {product.product_id: product for product in PRODUCTS}
    rounds = [admit_round(PRODUCTS, cursor, number, first_id=7 * number, count=7, shard_size=3, run_seed=0) for number in range(2)]
    flying = [rounds[0][2], rounds[1][0], rounds[1][2]]
    admissions = [admission for shard in flying for admission in shard.admissions]
    assert regroup(admissions, by_id, round_size=7, shard_size=3) == flying


def test_an_evaluation_has_the_same_shards_every_time() -> None:
    assert evaluation_shards(PRODUCTS, 4, run_seed=5) == evaluation_shards(PRODUCTS, 4, run_seed=5)
    assert evaluation_shards(PRODUCTS, 4, run_seed=5) != evaluation_shards(PRODUCTS, 4, run_seed=6)


SHARES = {"teens": 0.5, "adults": 0.3, "elders": 0.2}


def _round(number: int, segments: Shares = EVERYBODY) -> list[Shard]:
    return admit_round(PRODUCTS, ProductCursor(10, 3, 7 * number), number, 7 * number, count=7, shard_size=3, run_seed=3, segments=segments)


def test_without_segments_admissions_are_those_of_before_there_were_any() -> None:
    rows = [one for number in range(3) for shard in _round(number) for one in shard.admissions]
    text = "\n".join(str((one.admission_id, one.round, one.product_id, one.seed)) for one in rows)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "aa555e6dd457d728"
    assert {one.segment for one in rows} == {""}


def test_each_admission_is_for_a_segment_that_its_product_is_shown_to() -> None:
    shards = [shard for number in range(30) for shard in _round(number, SHARES)]
    admissions = [one for shard in shards for one in shard.admissions]
    assert [one.segment for one in admissions] == [product.segment for shard in shards for product in shard.products]
    assert {one.segment for one in admissions} == set(SHARES)
    plain = [one for number in range(30) for shard in _round(number) for one in shard.admissions]
    assert [replace(one, segment="") for one in admissions] == plain, "a segment changes nothing else of an admission"


def test_restored_admissions_are_shown_to_the_segment_they_were_drawn_for() -> None:
    by_id, shards = {product.product_id: product for product in PRODUCTS}, _round(0, SHARES)
    again = regroup([one for shard in shards for one in shard.admissions], by_id, round_size=7, shard_size=3)
    assert [[one.segment for one in shard.products] for shard in again] == [[one.segment for one in shard.products] for shard in shards]
