from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from caig_rl.ablation.cells import Plan, make_plan
from caig_rl.ablation.config import load_ablation
from caig_rl.cli import app
from caig_rl.config.load import load_config
from caig_rl.errors import ConfigError
from tests.ablation.made_up import RECIPES, TEXT, make_file

REPOSITORY = Path(__file__).parents[2]


def test_the_file_names_its_ablation_and_its_base_lies_beside_it(tmp_path: Path) -> None:
    found = load_ablation(make_file(tmp_path))
    assert (found.name, found.base, found.seeds, found.compare) == ("ab", tmp_path / "base.yaml", (0, 1), "ours")
    assert [arm.name for arm in found.arms] == ["two", "ours-of-3", "ours", "chance"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TEXT.replace("kind: best_of_n, n: 2", "kind: best_of_n, num: 2"), "arms.two.num: there is no such key; the nearest is arms.two.n"),
        (TEXT.replace("compare:", "comparison:"), "comparison: there is no such key; the nearest is compare"),
        (TEXT.replace("compare: ours", "compare: our"), "there is no arm 'our'; the nearest is ours"),
        (TEXT.replace("of: ours", "of: oars"), "'oars' is no arm that trains; the nearest is ours"),
        (TEXT.replace(", n: 2", ""), "arms.two: n is for kind: best_of_n, which needs it"),
        (TEXT.replace("reward.kind=random", "run.seed=3"), "arms.chance: run.seed=3: seed, name and place"),
        (TEXT.replace("[0, 1]", "[0, 0]"), "seeds must differ"),
        (TEXT.replace("kind: best_of_n, n: 2", "kind: best, n: 2"), "arms.two.kind: Input should be 'train' or 'best_of_n'"),
        ("base: base.yaml\narms: [dpo]\n", "arms: a mapping of names to arms is needed"),
        (TEXT.replace("of: ours}", "of: ours, compare: oars}"), "there is no arm 'oars'; the nearest is ours"),
        (RECIPES.replace("reward: scorer", "reward: scoer"), "there is no recipe 'scoer' in rewards; the nearest is scorer"),
        (RECIPES.replace("products: 50", "product: 50"), "rewards.vam.product: there is no such key; the nearest is rewards.vam.products"),
        (RECIPES.replace("products: 50", "products: 2"), "rewards.vam.products: Input should be greater than or equal to 3"),
        (RECIPES.replace("scorer: {}", "scorer: {overrides: [world.seed=1]}"), "rewards.scorer: world.seed=1: a recipe says how"),
        (RECIPES.replace("scorer: {}", "scorer: {overrides: [reward.train.out=x]}"), "reward.train.out=x: a recipe says how"),
        (RECIPES.replace("{overrides: [objective=dpo], reward", "{overrides: [reward.kind=random], reward"), "made by the recipe vam"),
        (TEXT.replace("of: ours", "of: ours, reward: x"), "and no overrides or reward of its own"),
        ("arms: {a: {}}\n", "base: the configuration that all arms start from is needed"),
    ],
)
def test_a_mistake_is_named_with_what_is_right(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_ablation(make_file(tmp_path, text))
    assert words in str(error.value)


@pytest.fixture(scope="module")
def shipped() -> Plan:
    return make_plan(load_ablation(REPOSITORY / "configs" / "ablate.yaml"), ["run.root=runs"])


def test_the_shipped_ablation_is_right_in_every_arm(shipped: Plan) -> None:
    assert len(shipped.cells) == 5 * len(shipped.ablation.arms)
    assert {cell.config.evaluation.products for cell in shipped.cells} == {96}
    first = shipped.cells[0]
    assert shipped.initial_prompts(first) == 16


def test_the_shipped_ablation_compares_each_arm_inside_its_world(shipped: Plan) -> None:
    alone = [arm.name for arm in shipped.ablation.arms if shipped.compared_with(arm.name) is None]
    assert alone == ["pcpo", "pcpo-no-trap", "pcpo-world-1", "pcpo-world-2"]
    assert len({shipped.world_of(name) for name in alone}) == 4
    assert [arm.name for arm in shipped.ablation.arms if shipped.is_bound(arm.name)] == ["world-reward"]


def test_the_shipped_ablation_makes_each_reward_model_once_and_draws_creatives_once_a_world(shipped: Plan) -> None:
    made = {(reward.recipe.name, reward.config.reward.train.form, reward.config.world.seed) for reward in shipped.rewards}
    own = {("vam", "vam", 0), ("cg4ctr", "cg4ctr", 0), ("paper", "side_by_side", 0)}
    assert made == own | {("scorer", "scorer", seed) for seed in (0, 1, 2)} and len(shipped.rewards) == 6
    assert len({reward.creatives for reward in shipped.rewards}) == 3
    (paper,) = (reward for reward in shipped.rewards if reward.recipe.name == "paper")
    assert paper.config.clicks.policy == "official"


def test_the_arm_with_the_settings_of_a_real_model_has_those_of_its_file(shipped: Plan) -> None:
    found = next(cell.config for cell in shipped.cells if cell.arm.name == "smolvlm-optimiser")
    file = load_config(REPOSITORY / "configs" / "smolvlm-500m.yaml")
    keys = ("finetune", "lora_rank", "lora_alpha", "lr", "lr_schedule", "min_lr_ratio", "weight_decay", "adam_eps", "batch_size", "epochs")
    keys = (*keys, "grad_clip", "replay", "sharpness")
    assert {key: getattr(found.learner, key) for key in keys} == {key: getattr(file.learner, key) for key in keys}
    assert found.rollout.rounds * found.rollout.products_per_round * found.rollout.candidates == 2000


def test_a_dry_run_of_the_shipped_ablation_shows_every_cell_and_every_model_to_make(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["ablate", str(REPOSITORY / "configs" / "ablate.yaml"), "--dry-run", f"run.root={tmp_path}"])
    assert done.exit_code == 0, done.output
    ablation = load_ablation(REPOSITORY / "configs" / "ablate.yaml")
    names = {line.split("\u2502")[1].strip() for line in done.output.splitlines() if line.startswith("\u2502")}
    assert {f"{arm.name}-seed4" for arm in ablation.arms} <= names
    assert f"{5 * len(ablation.arms)} cells of {5 * len(ablation.arms)} to run" in done.output
    assert "and before them 6 reward models to make" in done.output
    assert list(tmp_path.iterdir()) == []
