import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caig_rl.data.clicks import totals
from caig_rl.data.clicks.totals import ArmTotals

ROWS = st.lists(
    st.tuples(st.sampled_from("pq"), st.sampled_from("abc"), st.integers(0, 50), st.floats(0.0, 1.0), st.floats(0.05, 1.0)),
    min_size=1,
    max_size=40,
)


def _table(rows: list[tuple[str, str, int, float, float]]) -> pa.Table:
    products, creatives, shown, share, propensity = (list(column) for column in zip(*rows, strict=True))
    clicks = [float(int(n * s)) for n, s in zip(shown, share, strict=True)]
    return pa.table(
        {"product": products, "creative": creatives, "impressions": [float(n) for n in shown], "clicks": clicks, "propensity": propensity}
    )


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 7), st.sampled_from([1, 3, 10**6]))
def test_totals_do_not_depend_on_batches_or_merges(rows, batch, merge_rows):
    whole, parts = ArmTotals(), ArmTotals()
    table = _table(rows)
    whole.add(table)
    old = totals.MERGE_ROWS
    totals.MERGE_ROWS = merge_rows
    try:
        for start in range(0, len(rows), batch):
            parts.add(table.slice(start, batch))
    finally:
        totals.MERGE_ROWS = old
    one, other = whole.table(), parts.table()
    assert one.select(["test", "creative", "impressions", "clicks"]).equals(other.select(["test", "creative", "impressions", "clicks"]))
    for name in ("weight", "weighted_clicks", "squared_weight", "propensity_min", "propensity_max"):
        np.testing.assert_allclose(one[name].to_numpy(), other[name].to_numpy(), rtol=1e-9)
    assert sum(one["impressions"].to_pylist()) == sum(row[2] for row in rows)


def test_inverse_propensity_sums_are_the_formula_written_by_hand():
    arms = ArmTotals()
    arms.add(
        pa.table(
            {"product": ["p", "p"], "creative": ["a", "a"], "impressions": [10.0, 4.0], "clicks": [1.0, 2.0], "propensity": [0.5, 0.25]}
        )
    )
    (row,) = arms.table().to_pylist()
    assert row["weight"] == pytest.approx(10 / 0.5 + 4 / 0.25)
    assert row["weighted_clicks"] == pytest.approx(1 / 0.5 + 2 / 0.25)
    assert row["squared_weight"] == pytest.approx(10 / 0.25 + 4 / 0.0625)
    assert (row["propensity_min"], row["propensity_max"]) == (0.25, 0.5)


def test_rows_that_are_arms_stay_apart_and_the_first_detail_found_is_kept():
    rows = pa.table({"product": ["p"] * 3, "creative": ["a"] * 3, "impressions": [1.0] * 3, "clicks": [0.0] * 3, "title": [None, "T", "U"]})
    separate, together = ArmTotals(rows_are_arms=True), ArmTotals()
    separate.add(rows)
    separate.add(rows)
    together.add(rows)
    assert separate.table().num_rows == 6
    assert together.table()["title"].to_pylist() == ["T"]


def test_the_test_is_the_product_unless_the_log_names_one():
    arms = ArmTotals()
    arms.add(
        pa.table({"product": ["p", "p"], "test": ["t1", "t2"], "creative": ["a", "a"], "impressions": [1.0, 2.0], "clicks": [0.0, 0.0]})
    )
    assert arms.table()["test"].to_pylist() == ["t1", "t2"]
    plain = ArmTotals()
    plain.add(pa.table({"product": ["p"], "creative": ["a"], "impressions": [1.0], "clicks": [0.0]}))
    assert plain.table()["test"].to_pylist() == ["p"]


def test_an_empty_log_gives_an_empty_table():
    assert ArmTotals().table().num_rows == 0


def test_the_rows_of_an_arms_segments_add_up_to_the_arm():
    names = ["teens", "adults", None, "teens", "adults", "teens"]
    arms = [("p", "a", 10, 0.5, 0.5), ("p", "a", 20, 0.5, 0.25), ("p", "a", 5, 0.2, 1.0), ("p", "b", 8, 0.5, 0.5)]
    rows = _table(arms + [("q", "a", 4, 0.5, 0.5)] * 2)
    rows = rows.append_column("segment", pa.array(names, pa.string()))
    whole, parts = ArmTotals(), ArmTotals(by_segment=True)
    whole.add(rows)
    parts.add(rows)
    assert parts.table()["segment"].to_pylist() == ["adults", "teens", None, "teens", "adults", "teens"]
    summed = parts.table().group_by(["product", "creative"]).aggregate([(name, "sum") for name in totals.SUMS])
    for name in totals.SUMS:
        assert summed[f"{name}_sum"].to_pylist() == whole.table()[name].to_pylist(), name
