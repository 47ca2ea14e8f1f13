from hypothesis import given
from hypothesis import strategies as st

from caig_rl.data.clicks.splits import HELDOUT, TRAIN, VALIDATION, split_of


@given(st.text(), st.integers(0, 5))
def test_a_product_has_one_split(product, seed):
    assert split_of(product, seed, 0.1, 0.1) == split_of(product, seed, 0.1, 0.1)


def test_shares_are_kept_within_chance_and_another_seed_splits_otherwise():
    splits = [split_of(f"p{k}", 0, 0.1, 0.2) for k in range(20_000)]
    assert abs(splits.count(HELDOUT) / 20_000 - 0.2) < 0.01
    assert abs(splits.count(VALIDATION) / 20_000 - 0.1) < 0.01
    assert splits != [split_of(f"p{k}", 1, 0.1, 0.2) for k in range(20_000)]


def test_shares_of_nothing_train_on_everything():
    assert {split_of(f"p{k}", 0, 0.0, 0.0) for k in range(1000)} == {TRAIN}
