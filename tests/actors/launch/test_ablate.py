"""An ablation over a real Ray cluster and the real loop; its workers have no models."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.launch.ablate import MEASURED, RayCells
from actors.loop.stop_request import StopRequest
from actors.telemetry.progress import Silent
from caig_rl.ablation.cells import Plan, make_plan
from caig_rl.ablation.config import load_ablation
from caig_rl.ablation.rewards import RewardToMake, StageProgress
from caig_rl.ablation.sequence import Ended, run_cells
from caig_rl.config.schema import Config
from caig_rl.evaluation.measured_policy import MeasuredPolicy, read_measured
from caig_rl.models.folders import resolve_model_folder
from caig_rl.runs.gallery import read_gallery
from tests.actors.fake_fleet import FakePolicy, FakeRank, FakeRenderer, FakeScorer, LightSource
from tests.actors.fakes import BrightnessJudge

BASE = """
objective: dpo
run: {{root: {root}/runs}}
reward: {{margin: 0.0}}
rollout: {{rounds: 2, products_per_round: 4, candidates: 2, shard_size: 2}}
learner: {{batch_size: 4, micro_batch_size: 4}}
pools:
  policy: {{num_cpus: 0.2}}
  renderer: {{num_cpus: 0.2}}
  scorer: {{num_cpus: 0.2}}
evaluation: {{products: 3, prompts_per_product: 1, gallery: 2, bootstrap: 100}}
"""
ARMS = """
base: base.yaml
seeds: [0]
compare: dpo
rewards:
  quick: {products: 3}
arms:
  best-of-3: {kind: best_of_n, n: 3}
  dpo: {overrides: [objective=dpo]}
  chance: {overrides: [reward.kind=random]}
  made: {reward: quick}
  bound: {overrides: [reward.kind=world]}
  dpo-best-of-2: {kind: best_of_n, n: 2, of: dpo}
"""


class NoisyJudge(BrightnessJudge):
    """Every look at a grey picture sees another CTR."""

    def judge(self, products, creatives):  # type: ignore[no-untyped-def]
        rng = np.random.default_rng(len(creatives))
        return [type(one)(float(rng.uniform(0.01, 0.03)), 0.5) for one in super().judge(products, creatives)]


def _sources(config: Config) -> tuple[LightSource, LightSource, NoisyJudge]:
    return LightSource(6), LightSource(3, "held"), NoisyJudge()


MADE: list[str] = []
"""Names of the models that were made, in order."""


def _copy_of_the_shipped(wanted: RewardToMake, tell: StageProgress, is_stopped: Callable[[], bool]) -> bool:
    MADE.append(wanted.recipe.name)
    shutil.copytree(resolve_model_folder("nano", "reward"), wanted.folder)
    return True


class ScorerOfJudges(FakeScorer):
    """Insists on the judge where that is the reward."""

    def score(self, *arguments: Any) -> Any:
        assert [type(one).__name__ for one in self.told] == (["NoisyJudge"] if self._config.reward.kind == "world" else [])
        return super().score(*arguments)


class Watched(Silent):
    """Stops at the phase `at`, and keeps the phases."""

    def __init__(self, stop: StopRequest, at: str = "") -> None:
        self.phases: list[str] = []
        self._stop, self._at = stop, at

    def phase(self, name: str, total: int) -> None:
        self.phases.append(name)
        if name == self._at:
            self._stop.ask(signal.SIGTERM)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    pipeline, group = "actors.rollout.pipeline", "actors.learner.group"
    fakes = {f"{pipeline}.PolicyWorker": FakePolicy, f"{pipeline}.RendererWorker": FakeRenderer, f"{pipeline}.ScorerWorker": ScorerOfJudges}
    for name, fake in {**fakes, f"{group}.LearnerRank": FakeRank}.items():
        monkeypatch.setattr(name, fake)
    (tmp_path / "base.yaml").write_text(BASE.format(root=tmp_path))
    (tmp_path / "ab.yaml").write_text(ARMS)
    return make_plan(load_ablation(tmp_path / "ab.yaml"))


async def _run(plan: Plan, at: str = "") -> tuple[Ended, list[str]]:
    stop = StopRequest()
    progress = Watched(stop, at)
    return await run_cells(plan, RayCells(plan, _sources, _copy_of_the_shipped, progress, stop), lambda text: None), progress.phases


async def _stopped_twice_then_run(plan: Plan) -> list[tuple[Ended, list[str]]]:
    return [await _run(plan, "starting workers"), await _run(plan, "round 2 of 2"), await _run(plan)]


def test_an_ablation_is_stopped_while_it_measures_and_while_it_trains_and_goes_on(cluster: None, plan: Plan) -> None:
    (early, _), (midway, _), (ended, phases) = asyncio.run(_stopped_twice_then_run(plan))
    assert early.is_stopped and early.finished == {}
    assert midway.is_stopped and list(midway.finished) == ["best-of-3-seed0"]
    assert plan.cell_folder("dpo-seed0").exists("checkpoints/1/manifest.json")
    assert not ended.failed and not ended.is_stopped
    assert list(ended.finished) == [f"{arm}-seed0" for arm in ("best-of-3", "dpo", "chance", "made", "bound", "dpo-best-of-2")]
    assert MADE == ["quick"], "made once, before the cell that names it"
    assert phases[0] == "starting" and "round 1 of 2" in phases  # dpo went on in its second round; chance began at its first
    assert sum(name.startswith("measuring initial-seed0") for name in phases) == 0, "the initial policy was measured in an earlier life"
    _check_records(plan, ended)


def _check_records(plan: Plan, ended: Ended) -> None:
    trained, picked = ended.finished["dpo-seed0"].row, ended.finished["best-of-3-seed0"].row
    assert (trained.rounds, trained.painted, trained.painted_per_creative) == (2, 16, 1)
    assert [point.painted for point in trained.curve] == [0, 8]
    assert (picked.painted, picked.painted_per_creative, picked.products) == (0, 3, 3)
    before, after = read_measured(plan.cell_folder("dpo-seed0"))
    kept = next(Path(plan.folder.path(MEASURED)).glob("initial-seed0-*/policy.json")).read_text()
    whole = MeasuredPolicy.from_json(json.loads(kept)["policy"])
    assert before.evaluated.prompts == whole.first(1).evaluated.prompts and len(whole.evaluated.prompts[0]) == 3
    assert trained.ctr_final == pytest.approx(float(after.evaluated.ctrs.mean()))  # type: ignore[union-attr]
    for cell in plan.cells:
        folder = plan.cell_folder(cell.name)
        sides = [side for entry in read_gallery(folder) for side in (entry.before, entry.after)]
        assert len(sides) == 4 and all(folder.exists(f"samples/{side.image}") for side in sides), cell.name
    assert plan.folder.exists("gallery.png") and plan.folder.exists("ablation.html")
    assert plan.folder.read_text("cells.jsonl").count("\n") == 6
    table = plan.folder.read_text("table.md")
    assert "| quick | made | 8" in table and "the lift of bound, whose reward is the true CTR itself" in table
