"""The shop that the tutorial tells a reader to save as `runs/shop.py`, as it is printed there, against the service's own HTTP surface."""

import re
from pathlib import Path

import pytest

from caig_rl.evaluation.ab_test import evaluate_ab
from caig_rl.imaging.views import save_png
from caig_rl.serving.choice.arms import Routing
from caig_rl.serving.choice.experiment import read_experiment
from caig_rl.serving.events.click_log import read_impressions
from caig_rl.serving.http.app import create_app
from caig_rl.serving.service import Service
from tests.serving.fake_maker import FakeMaker
from tests.serving.http.test_app import World
from tests.serving.local_server import served
from tests.serving.made_creatives import cutout

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


def test_the_tutorials_shop_shows_reports_and_leaves_what_evaluate_ab_compares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (body,) = [block for block in re.findall(r"```python\n(.*?)```", TUTORIAL.read_text(), re.DOTALL) if "shop = " in block]
    photo = tmp_path / "runs" / "world" / "products" / "w0-0000000.png"
    photo.parent.mkdir(parents=True)
    save_png(cutout().rgba, photo)
    service = Service(World(tmp_path).config, FakeMaker(), Routing("base", candidate="mine-8", traffic=0.1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY", service.keys.add("shop"))
    with served(create_app(service)) as address:
        exec(compile(body.replace("http://127.0.0.1:8000", address), "shop.py", "exec"), {})
    seen = read_impressions(tmp_path, "shop")
    assert seen.num_rows == 400
    experiment = read_experiment(seen, "mine-8")
    assert evaluate_ab(experiment.visitors, experiment.by_category).verdict == "too early"
    assert "its verdict is `too early`" in TUTORIAL.read_text()
