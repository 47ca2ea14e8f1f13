import numpy as np
import pyarrow as pa
import pytest

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks.columns import PICTURE
from caig_rl.data.clicks.creatives import CREATIVE_SCHEMA, creative_statistics, merge_arms
from caig_rl.data.clicks.totals import ArmTotals


def test_an_adaptive_log_weighted_by_inverse_propensity_gives_back_the_true_rates():
    """Creatives of 4 % and 3 %. In the evening people click twice as much, and then the first is hardly shown: raw CTRs have the wrong
    order, weighted ones the right one."""
    rng = np.random.default_rng(0)
    arms = ArmTotals()
    for rate_factor, of_first, size in ((0.5, 0.9, 400_000), (1.0, 0.1, 400_000)):
        is_first = rng.random(size) < of_first
        rate = np.where(is_first, 0.04, 0.03) * rate_factor
        arms.add(
            pa.table(
                {
                    "product": ["p"] * size,
                    "creative": np.where(is_first, "a", "b"),
                    "impressions": np.ones(size),
                    "clicks": (rng.random(size) < rate).astype(float),
                    "propensity": np.where(is_first, of_first, 1 - of_first),
                }
            )
        )
    table, _ = creative_statistics(merge_arms(arms.table()), ClicksConfig(prior_impressions=100.0), 0)
    first, second = table.to_pylist()
    assert first["clicks"] / first["impressions"] < second["clicks"] / second["impressions"]
    assert first["ctr"] == pytest.approx(0.03, rel=0.05)
    assert second["ctr"] == pytest.approx(0.0225, rel=0.05)
    assert first["effective_impressions"] < first["impressions"]
    assert first["posterior_ctr"] > second["posterior_ctr"]


def test_without_propensities_effective_impressions_are_impressions():
    arms = ArmTotals()
    arms.add(pa.table({"product": ["p", "p"], "creative": ["a", "b"], "impressions": [500.0, 400.0], "clicks": [9.0, 7.0]}))
    table, _ = creative_statistics(merge_arms(arms.table()), ClicksConfig(prior_impressions=50.0), 0)
    assert table.schema.equals(CREATIVE_SCHEMA)
    assert table["effective_impressions"].to_pylist() == [500.0, 400.0]
    assert table["own_ctr"][0].as_py() == pytest.approx(16.5 / 1000)
    assert table["image_offset"].null_count == 2


def test_arms_of_one_creative_become_one_row_that_knows_the_place_of_its_first_picture():
    arms = ArmTotals(rows_are_arms=True)
    arms.add(
        pa.table(
            {"product": ["p"] * 3, "creative": ["a"] * 3, "impressions": [5.0, 6.0, 7.0], "clicks": [1.0, 2.0, 0.0], PICTURE: [None, 7, 8]}
        )
    )
    merged = merge_arms(arms.table())
    assert merged[PICTURE].to_pylist() == [7]
    table, _ = creative_statistics(merged, ClicksConfig(prior_impressions=50.0), 0)
    assert table.select(["impressions", "clicks", "image", "image_offset"]).to_pylist() == [
        {"impressions": 18, "clicks": 3, "image": None, "image_offset": None}
    ]
