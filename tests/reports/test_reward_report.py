"""A reward model is asked about held-out pairs of a log with pictures, and the page says what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caig_rl.config.reward import ClicksConfig, JudgeConfig
from caig_rl.data.clicks.dataset import ClickDataset, load_click_dataset
from caig_rl.data.clicks.pipeline import make_pair_files
from caig_rl.errors import ClickLogError
from caig_rl.evaluation import reward_judging
from caig_rl.evaluation.reward_evaluation import evaluate_pairs
from caig_rl.evaluation.reward_judging import judge_dataset, shared_agreement
from caig_rl.imaging.views import save_png
from caig_rl.models.reward import endpoint as reward_endpoint
from caig_rl.models.reward.interface import RewardError
from caig_rl.models.reward.judge import RewardJudge
from caig_rl.reports.reward_report import render_reward_report, reward_headline, reward_json
from caig_rl.types import Product
from tests.models.fake_endpoint import Reply, brighter_side, picture_of, serve


class BrightnessModel:
    """Likes bright creatives, by `sign`; cannot judge the products named in `silent`."""

    kind = "scorer"

    def __init__(self, sign: float = 1.0, silent: tuple[str, ...] = ()) -> None:
        self.sign, self.silent = sign, silent

    def score(self, products, creatives, batch_size=64):
        silent = [product.product_id for product in products if product.product_id in self.silent]
        if silent:
            raise RewardError(silent)
        return np.array([self.sign * creative.mean() / 60.0 for creative in creatives], dtype=np.float32)

    def compare(self, products, firsts, seconds, batch_size=64):
        return self.score(products, firsts) - self.score(products, seconds)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> ClicksConfig:
    """Thirty products of three creatives; bright ones are clicked more."""
    folder = tmp_path_factory.mktemp("log")
    rng = np.random.default_rng(0)
    rows = []
    for product in range(30):
        for creative in range(3):
            grey = int(rng.integers(0, 256))
            save_png(np.full((16, 16, 3), grey, np.uint8), folder / f"{product}-{creative}.png")
            clicks = int(rng.binomial(4000, 0.02 + 0.03 * grey / 255))
            text = {"title": f"<b>mug</b> {product}", "category": "kitchen", "image": f"{product}-{creative}.png"}
            rows.append({"product": f"p{product}", "creative": f"c{creative}", "impressions": 4000, "clicks": clicks} | text)
    pq.write_table(pa.Table.from_pylist(rows), folder / "log.parquet")
    config = ClicksConfig(path=str(folder / "log.parquet"), out=str(folder / "out"), heldout_share=0.4)
    make_pair_files(config)
    return config


@pytest.fixture(scope="module")
def data(log: ClicksConfig) -> ClickDataset:
    return load_click_dataset(log.out, Path(log.path).parent, "heldout")


def test_only_pairs_of_the_split_are_there_with_their_own_creatives(data: ClickDataset):
    assert set(data.pairs["split"].to_pylist()) == {"heldout"}
    for pair in range(data.pairs.num_rows):
        row = int(data.first[pair])
        assert data.product(row).product_id == data.pairs["product_id"][pair].as_py()
        assert data.creatives["creative_id"][row].as_py() == data.pairs["first"][pair].as_py()
        assert data.creatives["ctr"][row].as_py() == pytest.approx(data.pairs["first_ctr"][pair].as_py())


def test_a_model_that_knows_is_near_the_ceiling_and_its_opposite_below_chance(data: ClickDataset):
    good, bad = (evaluate_pairs(judge_dataset(BrightnessModel(sign), data).pairs) for sign in (1.0, -1.0))
    assert good.all_pairs.value > 0.8 and bad.all_pairs.value < 0.2
    assert good.all_pairs.value + bad.all_pairs.value == pytest.approx(1.0)
    assert "Right in" in reward_headline(good) and reward_headline(bad).startswith("Not shown to be better than a coin")


def test_pairs_without_an_answer_are_counted_and_the_others_judged(data: ClickDataset):
    silent = data.product(int(data.first[0])).product_id
    judging = judge_dataset(BrightnessModel(silent=(silent,)), data)
    assert judging.failed == sum(data.product(int(row)).product_id == silent for row in data.first) > 0
    assert judging.failed + len(judging.rows) == len(data.first)
    everyone = {data.product(int(row)).product_id for row in data.first}
    with pytest.raises(RewardError):
        judge_dataset(BrightnessModel(silent=tuple(everyone)), data)


def test_the_page_shows_wrong_pairs_as_pictures_and_escapes_the_log(data: ClickDataset):
    judging, other = judge_dataset(BrightnessModel(-1.0), data), judge_dataset(BrightnessModel(), data)
    evaluation = evaluate_pairs(judging.pairs)
    agreements = {"the other": shared_agreement(judging, other)}
    page = render_reward_report("mine", "scorer", data, judging, evaluation, agreements, "somewhere")
    assert agreements["the other"] < 0.05  # creatives of the same grey leave both undecided
    assert page.count("data:image/jpeg;base64,") == 40
    assert "<b>mug</b>" not in page and "&lt;b&gt;mug" in page
    assert "category kitchen" in page and "<svg" in page
    content = json.loads(reward_json({"mine": judging}, {"mine": evaluation}, agreements))
    assert content["models"]["mine"]["all_pairs"]["pairs"] == evaluation.all_pairs.pairs


def test_what_a_judge_was_asked_is_paid_for_and_its_silence_is_counted_by_kind(data: ClickDataset):
    silent = data.product(int(data.first[0])).title

    def answer(request: dict[str, Any]) -> Reply:
        asked = request["messages"][0]["content"][1]["text"]
        return (400, {}, b"refused") if f"{silent} (" in asked else brighter_side(request)

    with serve(answer) as endpoint:
        config = JudgeConfig(url=endpoint.url, model="vlm", image_size=16, requests_per_minute=1e9, price_in=5.0, price_out=15.0)
        judging = judge_dataset(RewardJudge(config), data)
        requests = len(endpoint.requests)
    bill = judging.bill
    assert bill is not None and judging.failed > 0
    assert bill.faults == {"bad_request": requests - bill.answers} and bill.requests == requests
    assert bill.cost == pytest.approx(bill.answers * (1000 * 5.0 + 2 * 15.0) / 1e6)
    evaluation = evaluate_pairs(judging.pairs)
    page = render_reward_report("vlm", "judge", data, judging, evaluation, {}, "somewhere")
    assert bill.text in page and f"{bill.faults['bad_request']} bad_request" in bill.text
    asked = json.loads(reward_json({"vlm": judging}, {"vlm": evaluation}, {}))["models"]["vlm"]["endpoint"]
    assert (asked["requests"], asked["cost"], asked["faults"]) == (requests, bill.cost, bill.faults)


def test_a_question_without_an_answer_costs_its_own_pair_and_no_other_of_the_product(data: ClickDataset):
    ids = [data.product(int(row)).product_id for row in data.first]
    place = next(i for i, name in enumerate(ids) if ids.count(name) > 1)
    shades = [int(data.image(int(rows[place]))[0, 0, 0]) for rows in (data.first, data.second)]
    title = f"{data.product(int(data.first[place])).title} ("

    def answer(request: dict[str, Any]) -> Reply:
        picture, asked = picture_of(request), request["messages"][0]["content"][1]["text"]
        is_it = title in asked and [int(picture[0, 0, 0]), int(picture[0, -1, 0])] == shades
        return (400, {}, b"refused") if is_it else brighter_side(request)

    with serve(answer) as endpoint:
        config = JudgeConfig(url=endpoint.url, model="vlm", image_size=16, requests_per_minute=1e9)
        judging = judge_dataset(RewardJudge(config), data)
    assert judging.failed == 1 and judging.bill is not None
    assert sorted(set(range(len(ids))) - set(judging.rows.tolist())) == [place]
    assert judging.bill.faults == {"bad_request": 1}


def test_an_endpoint_that_hears_nothing_ends_the_judging_within_its_first_batch(data: ClickDataset, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reward_endpoint, "SILENT_QUESTIONS", 4)
    done: list[int] = []
    with serve(lambda request: (401, {}, b"no such key")) as endpoint:
        config = JudgeConfig(url=endpoint.url, model="vlm", image_size=16, requests_per_minute=1e9, concurrency=1)
        with pytest.raises(RewardError, match="refused"):
            judge_dataset(RewardJudge(config), data, 4, lambda pairs, total: done.append(pairs))
        assert (done, len(endpoint.requests)) == ([4], 4)


def test_an_endpoint_that_never_answers_is_not_asked_about_the_whole_log(data: ClickDataset, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reward_judging, "SILENT_PAIRS", 8)
    model = BrightnessModel(silent=tuple(data.product(int(row)).product_id for row in data.first))
    done: list[int] = []
    with pytest.raises(RewardError):
        judge_dataset(model, data, 4, lambda pairs, total: done.append(pairs))
    assert done == [4, 8]
    # One answer among them, and all are asked.
    model.silent = tuple({data.product(int(row)).product_id for row in data.first[1:]} - {data.product(int(data.first[0])).product_id})
    done.clear()
    assert judge_dataset(model, data, 4, lambda pairs, total: done.append(pairs)).failed > 0
    assert done[-1] == len(data.first) > 8


def test_models_that_answered_no_pair_in_common_are_not_compared(data: ClickDataset):
    everyone = {data.product(int(row)).product_id for row in data.first}
    mine = data.product(int(data.first[0])).product_id
    one = judge_dataset(BrightnessModel(silent=tuple(everyone - {mine})), data)
    other = judge_dataset(BrightnessModel(silent=(mine,)), data)
    with pytest.raises(ClickLogError, match="no pair is answered by both"):
        shared_agreement(one, other)


def test_a_model_without_an_endpoint_has_no_bill(data: ClickDataset):
    judging = judge_dataset(BrightnessModel(), data)
    evaluation = evaluate_pairs(judging.pairs)
    assert "Endpoint:" not in render_reward_report("mine", "scorer", data, judging, evaluation, {}, "somewhere")
    assert json.loads(reward_json({"mine": judging}, {"mine": evaluation}, {}))["models"]["mine"]["endpoint"] is None


def test_a_catalog_says_more_of_a_product_than_the_log(log: ClicksConfig):
    known = load_click_dataset(log.out, Path(log.path).parent, "heldout")
    product_id = known.product(int(known.first[0])).product_id
    richer = load_click_dataset(log.out, Path(log.path).parent, "heldout", {product_id: Product(product_id, "A fine mug", "kitchen")})
    assert richer.product(int(richer.first[0])).title == "A fine mug"


def test_pictures_may_be_bytes_and_must_stay_in_their_folder(tmp_path: Path, log: ClicksConfig):
    table = pq.read_table(log.path)
    content = [(Path(log.path).parent / name).read_bytes() for name in table["image"].to_pylist()]
    pq.write_table(table.drop(["image"]).append_column("image", pa.array(content)), tmp_path / "log.parquet")
    config = ClicksConfig(path=str(tmp_path / "log.parquet"), out=str(tmp_path / "out"), heldout_share=0.4)
    make_pair_files(config)
    inside = load_click_dataset(config.out, tmp_path, "heldout")
    assert inside.image(0).shape == (16, 16, 3)
    names = pa.array(["../outside.png"] * table.num_rows)
    pq.write_table(table.drop(["image"]).append_column("image", names), tmp_path / "log.parquet")
    make_pair_files(config)
    with pytest.raises(ClickLogError, match="leaves"):
        load_click_dataset(config.out, tmp_path, "heldout").image(0)


def test_missing_files_and_missing_pictures_say_what_to_do(tmp_path: Path, log: ClicksConfig):
    with pytest.raises(ClickLogError, match="caig-rl data pairs"):
        load_click_dataset(str(tmp_path), tmp_path, "heldout")
    with pytest.raises(ClickLogError, match="holds no nosuch pair"):
        load_click_dataset(log.out, tmp_path, "nosuch")
    with pytest.raises(ClickLogError, match="cannot be read"):
        load_click_dataset(log.out, tmp_path, "heldout").image(0)
