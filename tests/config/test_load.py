from __future__ import annotations

from pathlib import Path

import pytest

from caig_rl.config import Config, config_yaml, load_config, write_config
from caig_rl.config.load import load_config_text
from caig_rl.errors import ConfigError

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


def written(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def message(path: Path | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def test_nothing_given_is_the_schemas_defaults() -> None:
    assert load_config(None, []) == Config()


def test_the_demo_config_is_valid_and_runs_on_the_embedded_models() -> None:
    config = load_config(DEMO, [])
    assert config.policy.model == config.renderer.model == config.reward.model == "nano"


def test_overrides_win_over_the_file_and_the_last_one_over_the_others(tmp_path: Path) -> None:
    path = written(tmp_path, "learner:\n  lr: 0.5\n  epochs: 3\n")
    config = load_config(path, ["learner.lr=1e-5", "learner.lr=2e-5"])
    assert (config.learner.lr, config.learner.epochs) == (2e-5, 3)


@pytest.mark.parametrize(
    ("override", "section", "name", "value"),
    [
        ("world.judge=false", "world", "judge", False),
        ("catalog.path=", "catalog", "path", None),
        ("catalog.path=null", "catalog", "path", None),
        ("catalog.path=shop: spring #2.csv", "catalog", "path", "shop: spring #2.csv"),
        ("run.name=2024", "run", "name", "2024"),
        ("run.name='no'", "run", "name", "no"),
        ("imaging.canny=[50, 150]", "imaging", "canny", (50, 150)),
        ("rollout.max_staleness=1", "rollout", "max_staleness", 1),
        ("catalog.columns={product_id: sku}", "catalog", "columns", {"product_id": "sku"}),
    ],
)
def test_override_values_are_typed_as_in_yaml_and_text_is_taken_as_it_stands(override: str, section: str, name: str, value: object) -> None:
    assert getattr(getattr(load_config(None, [override]), section), name) == value


def test_an_override_adds_one_column_to_those_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "catalog:\n  columns: {product_id: sku}\n")
    assert load_config(path, ["catalog.columns.image=photo"]).catalog.columns == {"product_id": "sku", "image": "photo"}


def test_an_empty_section_and_an_empty_file_keep_the_defaults(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "learner:\n  # lr: 1\n"), []) == Config()
    assert load_config(written(tmp_path, "# nothing yet\n"), []) == Config()


def test_one_key_of_an_inner_section_leaves_its_other_defaults_alone() -> None:
    before, after = Config().pools.renderer, load_config(None, ["pools.renderer.workers=3"]).pools.renderer
    assert after == before.model_copy(update={"workers": 3})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("learner.learning_rate=1", "learner.lr"),
        ("lr=1", "learner.lr"),
        ("leaner.epochs=1", "learner.epochs"),
        ("rollout.candidate=2", "rollout.candidates"),
        ("learner.lr.start=1", "learner.lr"),
        ("pools.render.workers=2", "pools.renderer.workers"),
    ],
)
def test_a_wrong_key_is_named_with_the_nearest_right_one(wrong: str, right: str) -> None:
    text = message(None, wrong)
    assert wrong.partition("=")[0] in text
    assert text.endswith(f"the nearest is {right}")


def test_a_wrong_section_is_named_with_the_nearest_section(tmp_path: Path) -> None:
    text = message(written(tmp_path, "lerner:\n  lr: 1\n"))
    assert "lerner" in text
    assert text.endswith("the nearest is learner")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("rollout.candidates=1", "rollout.candidates = 1 (command line): allowed is whole number, at least 2"),
        ("learner.lr=fast", "learner.lr = 'fast' (command line): allowed is number, at least 0.0"),
        ("learner.lr=.nan", "learner.lr = nan (command line): allowed is number, at least 0.0"),
        ("learner.lr=true", "learner.lr = True (command line): allowed is number, at least 0.0"),
        ("rollout.rounds=2.5", "rollout.rounds = 2.5 (command line): allowed is whole number, at least 1"),
        ("objective=ppo", "objective = 'ppo' (command line): allowed is one of pcpo, pcpo_paper, pcpo_official, dpo"),
        ("rollout.max_staleness=2", "rollout.max_staleness = 2 (command line): allowed is one of 0, 1"),
        ("imaging.canny=[1]", "imaging.canny = [1] (command line): allowed is [whole number, whole number]"),
        ("world.judge=perhaps", "world.judge = 'perhaps' (command line): allowed is true or false"),
        ("imaging.size=100", "imaging.size = 100 (command line): allowed is whole number, at least 64, a multiple of 8"),
        ("run.name=a b", "run.name = 'a b' (command line): allowed is text, matching ^[A-Za-z0-9]"),
        ("run.root=", "run.root = None (command line): allowed is text"),
        ("cluster.num_cpus=0", "cluster.num_cpus = 0 (command line): allowed is whole number or empty, at least 1"),
        ("learner.negatives={masked: 1}", "allowed is mapping of one of mask, mismatch, picture, hard to number"),
        ("learner.negatives={mask: 0}", "learner.negatives must not be negative, and one of them above 0"),
        ("learner.negatives={mask: 2, hard: -1}", "learner.negatives must not be negative, and one of them above 0"),
        ("learner.reference_every=2", "learner.reference_every needs learner.finetune=full"),
        ("catalog.columns.title=[1]", "catalog.columns = {'title': [1]} (command line): allowed is mapping of text to text"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(override: str, told: str) -> None:
    assert told in message(None, override)


def test_every_mistake_of_file_and_overrides_is_listed_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "learner:\n  lrr: 1\n  epochs: 0\nreward: 3\n")
    text = message(path, "rollout.rounds=0", "seed")
    assert text.count("\n") == 5
    for told in ("learner.lrr", "learner.epochs = 0", "reward = 3", "rollout.rounds = 0", "'seed'"):
        assert told in text


def test_a_section_set_to_a_scalar_lists_the_keys_of_the_section() -> None:
    text = message(None, "reward=nano")
    assert "reward is a section" in text
    assert "reward.kind, reward.model" in text


def test_an_override_without_an_equals_sign_is_refused() -> None:
    assert "'learner.lr' (command line): an override is written key=value" in message(None, "learner.lr")
    assert "an override is written key=value" in message(None, "=3")


def test_an_override_of_malformed_yaml_is_named() -> None:
    assert "imaging.canny = [1, (command line): line 1, column 4: not valid YAML" in message(None, "imaging.canny=[1,")


def test_malformed_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    text = message(written(tmp_path, "learner:\n  lr: [1\nrun: {}\n"))
    assert "run.yaml: line 3, column 4: not valid YAML" in text


def test_a_key_given_twice_in_a_file_is_refused_with_both_lines(tmp_path: Path) -> None:
    assert "line 3: lr is given twice, first in line 2" in message(written(tmp_path, "learner:\n  lr: 1\n  lr: 2\n"))
    assert "learner.lr" in message(written(tmp_path, "learner:\n  lr: 1\nlearner.lr: 2\n"))


def test_a_missing_file_is_named_with_the_configs_that_ship(tmp_path: Path) -> None:
    text = message(tmp_path / "none.yaml")
    assert "none.yaml: no such file" in text
    assert "demo.yaml" in text


def test_a_folder_a_binary_file_and_a_list_are_each_refused(tmp_path: Path) -> None:
    assert "is a folder, not a file" in message(tmp_path)
    assert "a mapping of sections is needed" in message(written(tmp_path, "- learner\n"))
    binary = tmp_path / "latin.yaml"
    binary.write_bytes("run: {name: caf\xe9}".encode("latin-1"))
    assert "not a UTF-8 text (byte 15)" in message(binary)


def test_a_rule_over_several_keys_is_told_in_its_own_words() -> None:
    text = message(None, "learner.world_size=3", "learner.batch_size=16")
    assert "learner.batch_size (16) must be a multiple of learner.world_size (3)" in text


def test_a_python_object_in_yaml_is_refused_and_not_made(tmp_path: Path) -> None:
    assert "not valid YAML" in message(written(tmp_path, "run: !!python/object/apply:os.getcwd []\n"))


def test_the_written_config_loads_as_the_same_config(tmp_path: Path) -> None:
    config = load_config(None, ["learner.lr=1e-5", "catalog.path=café.csv", "imaging.canny=[1,2]", "catalog.columns={image: photo}"])
    write_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml", []) == config
    assert "café.csv" in config_yaml(config)


def test_event_rows_are_never_taken_for_arms():
    with pytest.raises(ConfigError, match="rows_are_arms"):
        load_config(None, ["clicks.form=events", "clicks.rows_are_arms=true"])


def test_products_kept_from_training_leave_some_to_train_on():
    with pytest.raises(ConfigError, match=r"add up to 1\.00"):
        load_config(None, ["clicks.validation_share=0.5", "clicks.heldout_share=0.5"])


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["imaging.canny=[200,100]"], "imaging.canny = [200, 100]: give the lower threshold first"),
        (["imaging.canny=[-1,100]"], "neither below 0"),
        (["policy.max_tokens=256"], "policy.max_tokens (256) must be less than policy.max_model_len (256)"),
        (["learner.batch_size=8"], "learner.micro_batch_size (16) is more than learner.batch_size (8)"),
        (["reward.kind=world", "catalog.path=shop.csv"], "only the click world's own products have a true CTR"),
        (["reward.kind=world", "world.judge=false"], "reward.kind=world asks the world's shoppers, and world.judge is false"),
    ],
)
def test_settings_that_contradict_each_other_are_named(overrides: list[str], told: str) -> None:
    assert told in message(None, *overrides)


def test_a_tilde_is_the_home_folder_in_every_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    keys = ["run.root", "catalog.path", "clicks.path", "clicks.images", "clicks.out", "policy.model", "renderer.model", "reward.model"]
    keys += ["reward.train.backbone", "reward.train.out", "serve.root", "pretrain.backbone", "pretrain.creatives", "pretrain.out"]
    found = load_config(None, [f"{key}=~/x" for key in keys]).model_dump()
    for key in keys:
        value = found
        for part in key.split("."):
            value = value[part]
        assert value == f"{tmp_path}/x", key
    assert load_config(None, ["run.root=s3://bucket/~x"]).run.root == "s3://bucket/~x"


def test_a_config_that_was_read_from_elsewhere_is_named_by_its_address() -> None:
    assert load_config_text("learner: {epochs: 3}", "s3://runs/demo/config.yaml", ["rollout.rounds=2"]).learner.epochs == 3
    with pytest.raises(ConfigError, match=r"learner\.lrr \(s3://runs/demo/config\.yaml\)"):
        load_config_text("learner: {lrr: 3}", "s3://runs/demo/config.yaml")


def test_the_papers_code_has_the_papers_negatives_alone() -> None:
    assert "leave hard, picture out of learner.negatives" in message(
        None, "objective=pcpo_official", "learner.negatives={picture: 1, hard: 1, mask: 1}"
    )
    load_config(None, ["objective=pcpo_official", "learner.negatives={mismatch: 1, hard: 0}"])
