from __future__ import annotations

from pathlib import Path

import pytest

from caig_rl.ablation.cells import make_plan
from caig_rl.ablation.config import load_ablation
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


def test_the_shipped_ablation_is_right_in_every_arm() -> None:
    plan = make_plan(load_ablation(REPOSITORY / "configs" / "ablate.yaml"))
    assert len(plan.cells) == 5 * len(plan.ablation.arms)
    assert {cell.config.evaluation.products for cell in plan.cells} == {96}
    first = plan.cells[0]
    assert plan.initial_prompts(first) == 16
