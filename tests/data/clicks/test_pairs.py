import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks.creatives import CREATIVE_SCHEMA, creative_statistics
from caig_rl.data.clicks.pairs import (
    PAIR_SCHEMA,
    _block_pairs,
    comparison_blocks,
    count_all_pairs,
    label_trust,
    make_pairs,
    policy_mask,
    policy_weights,
)

COUNTS = st.lists(st.tuples(st.integers(1, 5000), st.floats(0.0, 1.0)), min_size=2, max_size=8)


def _creatives(counts: list[tuple[int, int]], product: str = "p", test: str = "t") -> pa.Table:
    """Clicks and impressions of one product's creatives, as a `CREATIVE_SCHEMA` table."""
    clicks, shown = (np.array(column, dtype=float) for column in zip(*counts, strict=True))
    merged = pa.table(
        {
            "test": [test] * len(counts),
            "product": [product] * len(counts),
            "creative": [f"{product}-{index}" for index in range(len(counts))],
            "impressions": shown,
            "clicks": clicks,
            "weight": shown,
            "weighted_clicks": clicks,
            "squared_weight": shown,
        }
    )
    return creative_statistics(merged, ClicksConfig(prior_impressions=100.0), 0)[0]


def _pairs(creatives: pa.Table, limit: int = 10**6) -> pa.Table:
    return pa.concat_tables(make_pairs(creatives, limit, 0))


def test_pairs_of_three_creatives_have_labels_z_and_flags_as_by_hand():
    pairs = _pairs(_creatives([(100, 1000), (110, 1000), (30, 1000)]))
    assert pairs.schema.equals(PAIR_SCHEMA)
    assert list(zip(pairs["first"].to_pylist(), pairs["second"].to_pylist(), strict=True)) == [
        ("p-0", "p-1"),
        ("p-0", "p-2"),
        ("p-1", "p-2"),
    ]
    assert pairs["label"].to_pylist() == [0, 1, 1]
    assert pairs["official"].to_pylist() == [True, False, False]
    assert pairs["significant"].to_pylist() == [False, True, True]
    assert pairs["order_probability"].to_pylist()[0] == pytest.approx(0.25, abs=0.05)
    assert pairs["order_probability"].to_pylist()[2] > 0.999


def test_the_official_band_includes_its_ends_and_excludes_a_ctr_of_zero():
    pairs = _pairs(_creatives([(100, 10000), (105, 10000), (120, 10000), (0, 10000)]))
    flags = dict(zip(zip(pairs["first"].to_pylist(), pairs["second"].to_pylist(), strict=True), pairs["official"].to_pylist(), strict=True))
    assert flags["p-0", "p-1"] and flags["p-0", "p-2"] and flags["p-1", "p-2"]
    assert not any(flag for (_, second), flag in flags.items() if second == "p-3")


def test_no_pair_joins_two_products_or_two_tests():
    creatives = pa.concat_tables([_creatives([(1, 100), (2, 100)], "p", "t1"), _creatives([(1, 100), (2, 100)], "p", "t2")])
    creatives = pa.concat_tables([creatives, _creatives([(1, 100), (2, 100)], "q", "t2")])
    pairs = _pairs(creatives)
    assert pairs.num_rows == count_all_pairs(creatives) == 3
    assert list(zip(pairs["test_id"].to_pylist(), pairs["product_id"].to_pylist(), strict=True)) == [("t1", "p"), ("t2", "p"), ("t2", "q")]


def test_policies_keep_what_their_names_say():
    pairs = _pairs(_creatives([(100, 1000), (110, 1000), (30, 1000), (30, 1000)]))
    assert policy_mask(pairs, "all").sum() == 5  # the last two have the same CTR: no order
    assert policy_mask(pairs, "official").sum() == 1
    assert policy_mask(pairs, "significant").sum() == 4
    assert policy_mask(pairs, "posterior").sum() == 5  # equal counts: a coin flip, nothing to learn
    weights = policy_weights(pairs, "posterior")
    np.testing.assert_allclose(weights, np.abs(2 * pairs["order_probability"].to_numpy() - 1), atol=1e-6)
    assert set(policy_weights(pairs, "significant").tolist()) == {0.0, 1.0}


@settings(max_examples=80, deadline=None)
@given(COUNTS)
def test_every_pair_is_there_once_and_its_numbers_agree_with_each_other(counts):
    pairs = _pairs(_creatives([(int(shown * share), shown) for shown, share in counts]))
    assert pairs.num_rows == len(counts) * (len(counts) - 1) // 2
    assert len(set(zip(pairs["first"].to_pylist(), pairs["second"].to_pylist(), strict=True))) == pairs.num_rows
    q, z = pairs["order_probability"].to_numpy(), pairs["z"].to_numpy()
    assert ((q >= 0) & (q <= 1)).all()
    labels = pairs["label"].to_pylist()
    for label, score in zip(labels, z, strict=True):
        assert (label is None and abs(score) < 1e-6) or (label == 1 and score > 0) or (label == 0 and score < 0)
    significant, every = policy_mask(pairs, "significant"), policy_mask(pairs, "all")
    assert (every | ~significant).all()
    trust = label_trust(pairs)
    assert np.isnan(trust).sum() == labels.count(None)


@given(st.integers(2, 60), st.integers(1, 50), st.integers(0, 5))
def test_a_limited_selection_holds_distinct_pairs_in_order(size, limit, seed):
    first, second = _block_pairs(size, limit, [seed])
    assert len(first) == min(limit, size * (size - 1) // 2)
    assert ((first >= 0) & (first < second) & (second < size)).all()
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == len(first)


def test_a_selection_of_all_but_one_of_many_pairs_numbers_every_pair_right():
    total = 300 * 299 // 2
    first, second = _block_pairs(300, total - 1, [0])
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == total - 1
    assert (first < second).all() and second.max() == 299


def test_blocks_of_nothing_are_nothing():
    empty = CREATIVE_SCHEMA.empty_table()
    assert len(comparison_blocks(empty)[0]) == 0
    assert list(make_pairs(empty, 10, 0)) == []
    assert count_all_pairs(empty) == 0
