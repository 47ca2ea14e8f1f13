from __future__ import annotations

from caig_rl.config import Config, describe_keys
from caig_rl.config.keys import nearest, sections


def test_every_setting_is_described_once_with_words_for_its_type() -> None:
    keys = [info.key for info in describe_keys()]
    assert len(keys) == len(set(keys))
    assert {"objective", "learner.lr", "pools.renderer.workers", "catalog.columns"} <= set(keys)
    assert all(info.type for info in describe_keys())


def test_described_defaults_are_those_of_the_configuration() -> None:
    for info in describe_keys():
        value: object = Config()
        for part in info.key.split("."):
            value = getattr(value, part)
        assert info.default == value, info.key


def test_a_described_key_carries_the_fields_docstring_and_bounds() -> None:
    info = {info.key: info for info in describe_keys()}["rollout.shard_size"]
    assert (info.type, info.default, info.description) == ("whole number, at least 1", 8, "Products per shard, the unit of rollout.")


def test_sections_are_not_settings() -> None:
    assert set(sections()).isdisjoint(info.key for info in describe_keys())
    assert "pools.policy" in sections()


def test_the_last_part_of_a_key_weighs_as_much_as_the_whole() -> None:
    assert nearest("train.lr", ["reward.train", "learner.lr"]) == "learner.lr"
