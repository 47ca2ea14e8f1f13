"""The first half of the circle, without a cluster: what the service logs is what pairs and reward training are made of."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from caig_rl.cli import app
from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks.dataset import load_click_dataset
from caig_rl.data.clicks.groups import write_groups
from caig_rl.data.clicks.pictures import PictureFaults
from caig_rl.data.clicks.pipeline import CREATIVES, make_pair_files
from caig_rl.data.clicks.sample_ratio import SplitVerdict
from caig_rl.serving.choice.chooser import Place
from caig_rl.serving.events.impressions import read_impression
from tests.serving.http.test_app import World

CTRS = (0.03, 0.06, 0.09, 0.12)
"""By candidate; the fake maker predicts them in this order and far too close to each other."""
PRODUCTS = 8


def show(world: World, product_id: str, visitors: int, rng: np.random.Generator) -> None:
    """Visitors of one product, each shown what the service chooses and clicking by its true CTR."""
    truth = {one.creative.creative_id: CTRS[one.creative.candidate] for one in world.service.store.of_product("acme", product_id)}
    for start in range(0, visitors, 20):
        world.now += 2.0  # the counts behind a choice are read anew
        items = []
        for number in range(start, min(start + 20, visitors)):
            chosen, impression_id, _ = world.service.choose(Place("acme", product_id, "", f"visitor {number}", 1))
            items.append({"impression_id": impression_id, "kind": "impression"})
            if rng.random() < truth[chosen.creative_id]:
                items.append({"impression_id": impression_id, "kind": "click"})
        answer = world.events(*items).json()
        assert answer["refused"] == 0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service whose creatives were shown and clicked."""
    world, rng = World(tmp_path_factory.mktemp("circle"), approval="rules"), np.random.default_rng(0)
    for number in range(PRODUCTS):
        assert len(world.make(product_id=f"p{number}", candidates="4").json()["creatives"]) == 4
        show(world, f"p{number}", 600, rng)
    yield world


def test_the_services_log_gives_pairs_and_training_files_with_its_own_pictures(world: World, tmp_path: Path):
    log = tmp_path / "log" / "clicks.parquet"
    result = CliRunner().invoke(app, ["serve", "log", "--root", str(world.root), "--out", str(log)])
    assert result.exit_code == 0, result.output
    assert f"clicks.images={world.root}" in result.output.replace("\n", "")
    config = ClicksConfig(path=str(log), out=str(tmp_path / "pairs"), min_impressions=20)
    summary = make_pair_files(config)
    assert summary.split_check is not None
    assert summary.split_check.design == "propensity"
    # The service chooses by chance, and the check has false alarms; with wrong propensities no test of so many fits.
    assert summary.split_check.verdicts[SplitVerdict.FITS] >= PRODUCTS - 1
    data = load_click_dataset(config.out, world.root, "train")
    faults = PictureFaults()
    assert write_groups(data, "train", 64, tmp_path, faults) >= 2
    assert faults.lines() == []
    (first, *_) = pq.read_table(tmp_path / "train.parquet").to_pylist()
    assert first["title"] == "red mug" and len(first["images"]) >= 2


def test_clicks_weighted_by_the_logged_propensities_are_the_true_rates_though_the_choice_moved(world: World, tmp_path: Path):
    log = tmp_path / "clicks.parquet"
    CliRunner().invoke(app, ["serve", "log", "--root", str(world.root), "--out", str(log)])
    config = ClicksConfig(path=str(log), out=str(tmp_path), min_impressions=1)
    make_pair_files(config)
    rates: dict[int, list[tuple[float, float]]] = {k: [] for k in range(4)}
    for row in pq.read_table(tmp_path / CREATIVES).to_pylist():
        candidate = world.service.store.get("acme", row["creative_id"]).creative.candidate
        rates[candidate].append((row["ctr"], row["effective_impressions"]))
    for candidate, ctr in enumerate(CTRS):
        found, weight = np.array(rates[candidate]).T
        error = np.sqrt(ctr * (1 - ctr) / weight.sum())
        assert abs(np.average(found, weights=weight) - ctr) < 4 * error


def test_a_creative_that_comes_later_begins_another_test(world: World):
    def shelf_of(visitor: str) -> str:
        _, impression_id, _ = world.service.choose(Place("acme", "late", "", visitor, 1))
        return read_impression(impression_id, world.service.signer).shelf

    world.make(product_id="late", candidates="2")
    before = {shelf_of(str(number)) for number in range(5)}
    world.make(product_id="late", candidates="1")
    after = {shelf_of(str(number)) for number in range(5)}
    assert len(before) == len(after) == 1 and before != after
