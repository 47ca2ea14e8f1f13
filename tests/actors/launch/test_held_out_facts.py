"""What a run and a second measurement say of their products: held out, or not."""

from __future__ import annotations

from actors.launch.evaluate import num_never_admitted
from actors.launch.run_facts import known_facts
from caig_rl.config.load import load_config
from caig_rl.runs.folder import RunFolder
from tests.actors.fake_fleet import LightSource
from tests.finished_run import make_ledger

OWN = load_config(None, ["catalog.path=products.csv", "reward.kind=random"])


def test_products_apart_from_those_trained_on_are_held_out_and_counted() -> None:
    facts = known_facts(OWN, LightSource(9), LightSource(4, "held"), None)
    assert (facts.held_out, facts.products_held_out, facts.catalog) == (True, 4, "products.csv")


def test_where_training_has_seen_them_nothing_is_held_out() -> None:
    whole = LightSource(9)
    assert (known_facts(OWN, whole, whole, None).held_out, known_facts(OWN, whole, whole, None).products_held_out) == (False, 0)


def test_a_second_measurement_asks_the_ledger_what_was_trained_on() -> None:
    folder = RunFolder("memory://shelf", "measured")
    assert num_never_admitted(folder, LightSource(3)) is None
    folder.write_ledger(make_ledger().to_table())
    assert num_never_admitted(folder, LightSource(3)) == 0
    assert num_never_admitted(folder, LightSource(3, "other")) == 3
