"""Known answers of the chi-square, and its behaviour on traffic that was, or was not, split as designed."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from caig_rl.data.clicks.creatives import usable_arms
from caig_rl.data.clicks.sample_ratio import SplitVerdict, check_sample_ratio, chosen_design
from tests.data.clicks.logs import arms_table


def test_an_equal_split_is_checked_by_the_chi_square_of_the_textbook():
    shown = [1000.0, 1100.0, 950.0]
    ratio = check_sample_ratio(arms_table(["t"] * 3, shown), "equal", 0.01)
    assert ratio.p_values[0] == pytest.approx(stats.chisquare(shown).pvalue)


def test_declared_shares_are_the_expectation_and_need_not_add_up_to_one():
    arms = arms_table(["t", "t"], [1980.0, 1020.0], share_min=[0.4, 0.2], share_max=[0.4, 0.2])
    ratio = check_sample_ratio(arms, "share", 0.01)
    assert ratio.p_values[0] == pytest.approx(stats.chisquare([1980, 1020], [2000, 1000]).pvalue)
    assert ratio.verdicts == (SplitVerdict.FITS,)
    assert check_sample_ratio(arms, "equal", 0.01).verdicts == (SplitVerdict.DEVIATES,)


def test_constant_propensities_are_declared_shares():
    shown = np.array([1980.0, 1020.0])
    arms = arms_table(
        ["t", "t"], list(shown), weight=list(shown / np.array([2 / 3, 1 / 3])), propensity_min=[2 / 3, 1 / 3], propensity_max=[2 / 3, 1 / 3]
    )
    expected = stats.chisquare(shown, [2000, 1000]).pvalue
    assert check_sample_ratio(arms, "propensity", 0.01).p_values[0] == pytest.approx(expected)


def _adaptive(rng: np.random.Generator, num_tests: int, honest: bool):
    """Two arms whose propensities move with every step; a dishonest log names others than it drew by."""
    arms = {"test": [], "impressions": [], "weight": [], "squared_weight": [], "propensity_min": [], "propensity_max": []}
    for test in range(num_tests):
        of_first = np.clip(0.5 + np.cumsum(rng.normal(0.0, 0.01, 3000)), 0.15, 0.85)
        drawn = rng.random(3000) < (of_first if honest else of_first * 0.9)
        logged = np.where(drawn, of_first, 1.0 - of_first)
        for first in (True, False):
            mine = logged[drawn == first]
            sums = (float(len(mine)), float(np.sum(1 / mine)), float(np.sum(1 / mine**2)))
            for name, value in zip(arms, (f"t{test}", *sums, mine.min(), mine.max()), strict=True):
                arms[name].append(value)
    return arms_table(arms.pop("test"), arms.pop("impressions"), **arms)


def test_honest_moving_propensities_pass_and_wrong_ones_are_found():
    rng = np.random.default_rng(0)
    honest = check_sample_ratio(_adaptive(rng, 400, honest=True), "propensity", 0.01)
    assert honest.verdicts.count(SplitVerdict.DEVIATES) == 0
    # At the 5 % level, before multiplicity, false alarms must not exceed 5 % by more than chance.
    assert np.mean(honest.p_values < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    dishonest = check_sample_ratio(_adaptive(rng, 100, honest=False), "propensity", 0.01)
    assert dishonest.verdicts.count(SplitVerdict.DEVIATES) > 70


def _one_bandit(rng: np.random.Generator, ctrs: np.ndarray, impressions: int) -> np.ndarray:
    """(K, 5) impressions, sums of 1/e and 1/e^2, lowest and highest e of a Thompson sampling that updates every 20 impressions."""
    arms = len(ctrs)
    shown, clicked, found = np.zeros(arms), np.zeros(arms), np.tile([0.0, 0.0, 0.0, 1.0, 0.0], (arms, 1))
    for _ in range(impressions // 20):
        best = rng.beta(6.0 + clicked, 600.0 + shown - clicked, (400, arms)).argmax(axis=1)
        of_arm = 0.95 * np.bincount(best, minlength=arms) / 400 + 0.05 / arms
        now = rng.multinomial(20, of_arm).astype(float)
        clicked += rng.binomial(now.astype(int), ctrs)
        shown += now
        found[:, :3] += np.stack([now, now / of_arm, now / of_arm**2], axis=1)
        found[:, 3] = np.where(now > 0, np.minimum(found[:, 3], of_arm), found[:, 3])
        found[:, 4] = np.where(now > 0, np.maximum(found[:, 4], of_arm), found[:, 4])
    return found


def test_the_honest_log_of_a_bandit_that_finds_its_winner_is_not_set_aside():
    rng = np.random.default_rng(0)
    found = np.concatenate([_one_bandit(rng, np.array([0.03, 0.06, 0.09, 0.12]), 2000) for _ in range(300)])
    names = ("weight", "squared_weight", "propensity_min", "propensity_max")
    columns = {name: found[:, 1 + number].tolist() for number, name in enumerate(names)}
    tests = np.repeat([f"t{number:03d}" for number in range(300)], 4).tolist()
    ratio = check_sample_ratio(arms_table(tests, found[:, 0].tolist(), **columns), "propensity", 0.01)
    assert ratio.verdicts.count(SplitVerdict.DEVIATES) <= 3
    assert np.mean(ratio.p_values < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_random_splits_pass_and_broken_ones_are_set_aside_among_many():
    rng = np.random.default_rng(1)
    tests = np.repeat([f"t{k:04d}" for k in range(1000)], 4)
    shown = rng.multinomial(8000, [0.25] * 4, size=1000).astype(float)
    clean = check_sample_ratio(arms_table(list(tests), list(shown.ravel())), "equal", 0.01)
    assert clean.verdicts.count(SplitVerdict.DEVIATES) <= 1
    shown[:100] = rng.multinomial(8000, [0.29, 0.25, 0.25, 0.21], size=100)
    broken = check_sample_ratio(arms_table(list(tests), list(shown.ravel())), "equal", 0.01)
    assert all(verdict is SplitVerdict.DEVIATES for verdict in broken.verdicts[:100])
    assert broken.verdicts[100:].count(SplitVerdict.DEVIATES) <= 4


def test_what_cannot_be_checked_says_why_and_is_not_set_aside():
    arms = arms_table(["one", "few", "few"], [1000.0, 3.0, 1.0])
    ratio = check_sample_ratio(arms, "equal", 0.01)
    assert ratio.verdicts == (SplitVerdict.SINGLE_ARM, SplitVerdict.TOO_SMALL)
    assert np.isnan(ratio.p_values).all()
    assert ratio.usable.all()
    assert check_sample_ratio(arms_table(["t", "t"], [10.0, 1000.0]), "unchecked", 0.01).verdicts == (SplitVerdict.UNCHECKED,)


def test_a_share_that_changes_within_an_arm_sets_the_test_aside():
    arms = arms_table(["t", "t"], [1000.0, 1000.0], share_min=[0.4, 0.5], share_max=[0.6, 0.5])
    ratio = check_sample_ratio(arms, "share", 0.01)
    assert ratio.verdicts == (SplitVerdict.SHARE_CHANGES,)
    assert not ratio.usable.any()


def test_an_arm_that_got_nothing_is_a_deviation():
    assert check_sample_ratio(arms_table(["t", "t"], [0.0, 1000.0]), "equal", 0.01).verdicts == (SplitVerdict.DEVIATES,)


def test_the_best_documented_design_is_chosen():
    arms = arms_table(["t"], [1.0])
    assert chosen_design(arms, "auto") == "equal"
    assert chosen_design(arms.append_column("share_min", [[0.5]]), "auto") == "share"
    assert chosen_design(arms.append_column("share_min", [[0.5]]).append_column("propensity_min", [[0.5]]), "auto") == "propensity"
    assert chosen_design(arms, "unchecked") == "unchecked"


def test_an_arm_that_was_never_shown_deviates_from_its_logged_propensity_too():
    arms = arms_table(["t", "t"], [0.0, 1000.0], weight=[0.0, 2000.0], propensity_min=[0.5, 0.5], propensity_max=[0.5, 0.5])
    assert check_sample_ratio(arms, "propensity", 0.01).verdicts == (SplitVerdict.DEVIATES,)


def _campaign(shown: list[list[float]], **more: list[float]) -> pa.Table:
    """One test "c" that spans a product for each row of `shown`, beside a plain test "t" of one."""
    tests = ["c"] * sum(map(len, shown)) + ["t", "t"]
    arms = arms_table(tests, [value for row in shown for value in row] + [1000.0, 1000.0], **more)
    products = [f"p{number}" for number, row in enumerate(shown) for _ in row] + ["t", "t"]
    return arms.set_column(1, "product", [products])


def test_a_test_of_several_products_is_checked_product_by_product():
    arms = _campaign([[9000.0, 9100.0], [500.0, 490.0], [3000.0, 2000.0], [70.0]])
    ratio = check_sample_ratio(arms, "equal", 0.01)
    assert ratio.tests == ("c / p0", "c / p1", "c / p2", "c / p3", "t")
    assert ratio.verdicts == (SplitVerdict.FITS, SplitVerdict.FITS, SplitVerdict.DEVIATES, SplitVerdict.SINGLE_ARM, SplitVerdict.FITS)
    assert ratio.spanning == 1
    assert usable_arms(arms, ratio)["product"].to_pylist() == ["p0", "p0", "p1", "p1", "p3", "t", "t"]
    assert ratio.p_values[0] == pytest.approx(stats.chisquare([9000, 9100]).pvalue)


def test_one_test_whose_arms_lie_apart_is_still_one():
    arms = arms_table(["t", "u", "t", "u"], [1000.0, 500.0, 1010.0, 900.0])
    arms = arms.set_column(1, "product", [["p", "p", "p", "p"]])
    ratio = check_sample_ratio(arms, "equal", 0.01)
    assert (ratio.tests, ratio.index.tolist(), ratio.spanning) == (("t", "u"), [0, 1, 0, 1], 0)
    assert ratio.verdicts == (SplitVerdict.FITS, SplitVerdict.DEVIATES)


@pytest.mark.parametrize("drawn_within_products", [True, False])
def test_honest_propensities_of_a_campaign_pass_whether_drawn_within_products_or_across_them(drawn_within_products: bool):
    rng = np.random.default_rng(3)
    names = ("impressions", "weight", "squared_weight", "propensity_min", "propensity_max")
    found: dict[str, list[float]] = {name: [] for name in names}
    tests, products = [], []
    for campaign in range(150):
        # Three products of two creatives; who draws across all six knows how often each product is seen, who draws within does not.
        logits = np.cumsum(rng.normal(0.0, 0.02, (2000, 6)), axis=0)
        visits = rng.choice(3, 2000, p=[0.6, 0.3, 0.1])
        chances = np.exp(logits)
        if drawn_within_products:
            of_arm = chances / np.repeat(chances.reshape(-1, 3, 2).sum(axis=2), 2, axis=1)
            arm = 2 * visits + (rng.random(2000) > of_arm[np.arange(2000), 2 * visits])
        else:
            of_arm = chances / chances.sum(axis=1, keepdims=True)
            arm = (rng.random((2000, 1)) > of_arm.cumsum(axis=1)).sum(axis=1).clip(max=5)
        logged = of_arm[np.arange(2000), arm]
        for number in range(6):
            mine = logged[arm == number]
            values = (float(len(mine)), np.sum(1 / mine), np.sum(1 / mine**2), mine.min(), mine.max())
            for name, value in zip(names, values, strict=True):
                found[name].append(float(value))
            tests.append(f"c{campaign:03d}")
            products.append(f"p{number // 2}")
    arms = arms_table(tests, found.pop("impressions"), **found).set_column(1, "product", [products])
    ratio = check_sample_ratio(arms, "propensity", 0.01)
    assert len(ratio.tests) == 450
    assert ratio.verdicts.count(SplitVerdict.DEVIATES) <= 2
    assert np.nanmean(ratio.p_values < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 450)
    # The same with every second creative's propensity logged a third too low.
    for name, power in (("weight", 1), ("squared_weight", 2), ("propensity_min", -1), ("propensity_max", -1)):
        values = [value * 1.5 ** (power * (k % 2)) for k, value in enumerate(arms[name].to_pylist())]
        arms = arms.set_column(arms.column_names.index(name), name, [values])
    assert check_sample_ratio(arms, "propensity", 0.01).verdicts.count(SplitVerdict.DEVIATES) > 100
