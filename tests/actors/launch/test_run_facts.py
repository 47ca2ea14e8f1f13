from __future__ import annotations

import pytest

from actors.launch.run_facts import known_facts
from caig_rl.config.load import load_config
from tests.actors.fakes import FakeSource


@pytest.mark.parametrize(("override", "is_known"), [("world.seed=0", True), ("world.seed=1", False), ("world.trap=varied", False)])
def test_the_embedded_reward_models_accuracy_is_that_of_the_world_it_was_trained_on(override: str, is_known: bool) -> None:
    facts = known_facts(load_config(None, [override]), FakeSource(3), FakeSource(2, "held"), None)
    assert (facts.reward_accuracy is not None) == is_known
