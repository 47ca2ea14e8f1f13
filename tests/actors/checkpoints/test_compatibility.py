from __future__ import annotations

import json

import pytest

from actors.checkpoints.compatibility import ADDED_LATER, first_difference, run_fingerprint, weights_fingerprint
from caig_rl.config.keys import defaults
from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.types import Product

PRODUCTS = [Product(name, name, "mugs") for name in ("a", "b")]
WRITTEN = json.loads(json.dumps(run_fingerprint(Config(), PRODUCTS, PRODUCTS[:1])))


def test_the_same_run_has_no_difference() -> None:
    assert first_difference(WRITTEN, run_fingerprint(Config(), PRODUCTS, PRODUCTS[:1])) == ""


@pytest.mark.parametrize(
    "override",
    [
        "world.seed=3",
        "world.judge=false",
        "world.trap=false",
        "world.trap=varied",
        "world.unseen_categories=2",
        "segments.names=[teens]",
        "reward.kind=random",
        "renderer.steps=9",
        "imaging.size=256",
        "evaluation.products=7",
        "evaluation.prompts_per_product=3",
        "rollout.shard_size=4",
        "rollout.max_staleness=1",
        "policy.temperature=0.5",
        "guard.reward=runs/guard",
    ],
)
def test_a_run_that_would_go_on_otherwise_is_told_apart_by_key(override: str) -> None:
    key = override.split("=")[0]
    changed = run_fingerprint(load_config(None, [override]), PRODUCTS, PRODUCTS[:1])
    assert f"{key}=" in first_difference(WRITTEN, changed)


@pytest.mark.parametrize(
    "override", ["world.trap=varied", "world.unseen_categories=2", "segments.names=[teens]", "guard.reward=runs/guard"]
)
def test_a_run_from_before_a_key_goes_on_as_it_did_and_not_otherwise(override: str) -> None:
    before = {key: value for key, value in WRITTEN.items() if key not in ADDED_LATER}
    assert first_difference(before, run_fingerprint(Config(), PRODUCTS, PRODUCTS[:1])) == ""
    assert f"{override.split('=')[0]}=" in first_difference(before, run_fingerprint(load_config(None, [override]), PRODUCTS, PRODUCTS[:1]))


def test_keys_that_were_added_later_have_their_first_value_as_default() -> None:
    assert {key: defaults()[key] for key in ADDED_LATER} == ADDED_LATER


def test_other_products_are_told_apart() -> None:
    assert "the products=" in first_difference(WRITTEN, run_fingerprint(Config(), PRODUCTS[::-1], PRODUCTS[:1]))
    assert "the evaluation's products=" in first_difference(WRITTEN, run_fingerprint(Config(), PRODUCTS, PRODUCTS[1:]))


def test_a_checkpoint_of_before_products_were_held_out_fits_a_run_that_holds_out_none_and_no_other() -> None:
    """The split shows in the products alone, so a fingerprint that knows nothing of the key still fits."""
    assert not any("heldout" in key for key in WRITTEN)
    none = load_config(None, ["catalog.heldout_share=0"])
    assert first_difference(WRITTEN, run_fingerprint(none, PRODUCTS, PRODUCTS[:1])) == ""
    assert "the products=" in first_difference(WRITTEN, run_fingerprint(none, PRODUCTS[:1], PRODUCTS[1:]))


def test_what_only_decides_how_it_runs_may_change() -> None:
    elsewhere = load_config(
        None,
        [
            "learner.world_size=2",
            "rollout.rounds=9",
            "objective=dpo",
            "reward.judge.timeout_s=9",
            "pools.renderer.workers=5",
            "rollout.max_attempts=9",
            "run.name=other",
            "cluster.num_cpus=2",
            "guard.stop=false",
        ],
    )
    assert first_difference(WRITTEN, run_fingerprint(elsewhere, PRODUCTS, PRODUCTS[:1])) == ""


def test_weights_can_be_measured_on_other_products() -> None:
    assert first_difference(WRITTEN, weights_fingerprint(load_config(None, ["evaluation.products=96"]))) == ""
