from __future__ import annotations

from pathlib import Path

import pytest
from scipy import stats

from caig_rl.ablation.cells import Plan
from caig_rl.ablation.records import CellRecord
from caig_rl.ablation.summaries import arm_summaries, bound_shares, differences, over_seeds_and_products
from tests.ablation.made_up import WORLDS, a_plan, record


def some_records(plan: Plan) -> list[CellRecord]:
    cells = {cell.name: cell for cell in plan.cells}
    return [
        record(cells["ours-seed0"], 0.03, 0.03, kl=1.0),
        record(cells["ours-seed1"], 0.034, 0.034, kl=2.0),
        record(cells["chance-seed0"], 0.02, 0.022),
        record(cells["chance-seed1"], 0.018, 0.024),
        record(cells["two-seed0"], 0.025, 0.025),
    ]


def test_an_arm_is_the_mean_of_its_seeds_with_their_t_interval_where_products_are_alike(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    two, ours, chance = arm_summaries(plan, some_records(plan))
    assert (two.name, ours.name, chance.name) == ("two", "ours", "chance")
    assert ours.lift.mean == pytest.approx(0.6) and (ours.seeds, ours.planned) == ((0, 1), 2)
    assert ours.lift.interval == pytest.approx((0.6 - 12.7062 * 0.1, 0.6 + 12.7062 * 0.1), abs=1e-4)  # t(1 df) times 0.1414 / sqrt(2)
    assert ours.kl is not None and ours.kl.mean == 1.5
    assert (two.per_creative, two.seeds, two.lift.interval) == (2, (0,), (0.25, 0.25))  # one seed: over products, which are all alike


def test_the_interval_of_a_lift_knows_that_products_were_drawn_too(tmp_path: Path) -> None:
    """Both seeds have the same lift, so an interval over seeds alone would have no width."""
    plan = a_plan(tmp_path)
    cells = {cell.name: cell for cell in plan.cells}
    records = [record(cells[f"ours-seed{seed}"], 0.02, 0.03, 0.04) for seed in (0, 1)]
    (ours,) = arm_summaries(plan, records)
    # Products +0, +0.5, +1 in both seeds: MS_products = 2 * 0.25, over 6 values; two degrees of freedom.
    half = stats.t.ppf(0.975, 2) * (0.5 / 6) ** 0.5
    assert ours.lift.interval == pytest.approx((0.5 - half, 0.5 + half))


def test_products_that_a_seed_lacks_are_left_out_of_the_interval_and_not_of_the_mean() -> None:
    found = over_seeds_and_products([1.0, 2.0], [{"a": 0.5, "b": 1.5}, {"a": 1.0, "c": 3.0}])
    assert (found.mean, found.num) == (1.5, 2) and found.interval is not None
    assert found.interval == pytest.approx((1.5 - 12.7062 * 0.5, 1.5 + 12.7062 * 0.5), abs=1e-3)
    assert over_seeds_and_products([1.0], [{"a": 1.0}]).interval is None


def test_differences_are_paired_by_seed_and_product(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    two, chance = differences(plan, some_records(plan))
    assert two.overall.mean == pytest.approx(-0.25) and list(two.by_seed) == [0]
    first = chance.by_seed[0]
    assert first.mean == pytest.approx(-0.45)  # (-0.01 and -0.008) over the initial 0.02
    assert first.interval == pytest.approx((-0.45 - 12.7062 * 0.05, -0.45 + 12.7062 * 0.05), abs=1e-4)
    assert chance.overall.mean == pytest.approx((-0.45 - 0.65) / 2) and chance.overall.num == 2
    # By hand, of ((-0.5, -0.4), (-0.8, -0.5)): mean squares 0.04, 0.04 and 0.01; variance 0.07 / 4, degrees of freedom 0.07^2 / 0.0033.
    half = stats.t.ppf(0.975, 0.07**2 / 0.0033) * (0.07 / 4) ** 0.5
    assert chance.overall.interval == pytest.approx((-0.55 - half, -0.55 + half))


def test_nothing_is_compared_across_worlds_even_where_products_have_the_same_names(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, text=WORLDS)
    records = [record(cell, 0.03, 0.03) for cell in plan.cells]
    found = {one.arm: one.against for one in differences(plan, records)}
    assert found == {"bound": "ours", "dpo-w1": "ours-w1"}
    assert {arm.name: arm.world for arm in arm_summaries(plan, records)} == {
        "ours": "world 0",
        "bound": "world 0",
        "no-trap": "world 0 without a trap",
        "ours-w1": "world 1",
        "dpo-w1": "world 1",
    }


def test_records_without_a_shared_product_have_no_difference(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    ours, chance = (next(cell for cell in plan.cells if cell.name == name) for name in ("ours-seed0", "chance-seed0"))
    other = record(chance, 0.03, 0.03).model_copy(update={"product_ids": ("x", "y")})
    assert differences(plan, [record(ours, 0.03, 0.03), other]) == []


def test_an_arm_is_measured_by_what_the_true_ctr_as_reward_earns(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, text=WORLDS)
    cells = {cell.name: cell for cell in plan.cells}
    lifts = {"ours-seed0": 0.026, "bound-seed0": 0.03, "ours-seed1": 0.028, "bound-seed1": 0.03}
    records = [record(cells[name], after, after) for name, after in lifts.items()]
    (found,) = bound_shares(plan, records)
    assert (found.arm, found.bound, found.share.num) == ("ours", "bound", 2)
    assert found.share.mean == pytest.approx((0.6 + 0.8) / 2)
    assert bound_shares(plan, records[:1]) == []
