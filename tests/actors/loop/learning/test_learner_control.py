"""The control of a learner that is a list of admission ids: what it has learned from, in order, shows in its weights."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from actors.checkpoints.store import CheckpointStore
from actors.learner.rank_health import LearnerLost
from actors.loop.learning.learner_control import LearnerControl
from actors.loop.learning.learner_recovery import LearnerError, LearnerRecovery
from actors.loop.learning.prompt_learning import PromptLearning
from actors.loop.learning.round_training import RoundTraining
from actors.loop.state.group_journal import GroupJournal
from actors.loop.state.run_state import RunState
from actors.rollout.publication import LivePublication
from actors.telemetry.progress import Silent
from actors.telemetry.stage_times import StageClock
from actors.weights.published import Canary, PublishedWeights
from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.errors import CheckpointError
from caig_rl.learning.preference.round_metrics import RoundMetrics
from caig_rl.runs.events import EventLog
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.ledger import Ledger
from caig_rl.types import Admission, PolicyVersion, Rollout, RolloutGroup
from tests.actors.loop.state.test_run_state import PRODUCTS, make_pair_of

SIZES = ["rollout.rounds=3", "rollout.products_per_round=4", "rollout.shard_size=2", "learner.world_size=1"]


class FakeLearner:
    """Its weights are the ids of the admissions that it has learned from. It is lost at the calls of `train` in `lost_at`; 0: its start."""

    world_size = 1
    reference_lost = 0
    """Times that it is lost when its reference is asked."""
    is_lost_in_save = False
    """True: its next save ends with the share of a rank that the group has no more afterwards."""

    def __init__(self, lost_at: tuple[int, ...] = ()) -> None:
        self.weights, self.lost_at, self.calls, self.formed = list[int](), lost_at, 0, 0

    async def start(self, total_steps: int) -> None:
        if 0 in self.lost_at:
            raise LearnerLost("rank 0 died while it started")

    async def re_form(self, total_steps: int) -> None:
        self.weights, self.formed = [], self.formed + 1

    async def train(self, table: pa.Table, *views: Any) -> RoundMetrics:
        self.calls += 1
        if self.calls in self.lost_at:
            self.weights.append(-1)  # half a round
            raise LearnerLost("rank 0 died")
        self.weights += table.column("admission_id").to_pylist()
        return RoundMetrics(table.num_rows, 1, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 1.0, 1e-3, 0.1)

    async def publish(self, version: PolicyVersion) -> PublishedWeights:
        return PublishedWeights(version, json.dumps(self.weights), Canary("", None, ()), (), ())  # type: ignore[arg-type]

    async def initial_log_probs(self, groups: Any, blocks: Any, places: Any) -> list[list[tuple[float, ...]]]:
        if self.reference_lost:
            self.reference_lost -= 1
            raise LearnerLost("rank 0 died")
        return [[one.logprobs for one in group.rollouts] for group in groups]

    async def save(self, url: str) -> None:
        Path(url).mkdir(parents=True, exist_ok=True)
        if self.is_lost_in_save:
            self.is_lost_in_save = False
            Path(url, "rank-1").touch()
            raise LearnerLost("rank 0 died while it saved")
        Path(url, "weights.json").write_text(json.dumps(self.weights))

    async def load(self, url: str) -> None:
        self.weights = json.loads(Path(url, "weights.json").read_text())

    def close(self) -> None:
        """Nothing to stop."""


class FakePipeline:
    """Workers that pull at once; the publications named in `lost` go away before they can."""

    def __init__(self, lost: tuple[PolicyVersion, ...] = ()) -> None:
        self.publication, self.live, self._lost = LivePublication(), list[PolicyVersion](), lost

    async def go_live(self, published: PublishedWeights) -> None:
        await self.publication.replace(published)
        if published.version in self._lost:
            await self.publication.next_after_loss(published, "lost in a test")
        self.live.append(published.version)


class BlindTraining(RoundTraining):
    """Without pictures, which only a real learner looks at."""

    def _views(self, pairs: Any) -> Any:
        return [], []


class Run:
    """A run's plain parts around a fake learner."""

    pictures: Any = None
    """What the rows of every shard are kept in."""

    def __init__(
        self, root: Path, learner: FakeLearner, pipeline: FakePipeline, *settings: str, training: type[RoundTraining] = BlindTraining
    ) -> None:
        self.config: Config = load_config(None, [*SIZES, *settings])
        self.folder = RunFolder(str(root), "run")
        self.run_state = RunState(self.config, PRODUCTS, Ledger(), GroupJournal(self.folder))
        self.store, self.events, self.learner = CheckpointStore(self.folder, 5), EventLog(self.folder), learner
        shared: Any = (self.config, self.run_state, learner)
        self.training = training(*shared, self.folder, None)
        recovery = LearnerRecovery(*shared, self.store, self.training, Silent(), self.events.record_event)
        prompts = PromptLearning(self.config, PRODUCTS, lambda text: None)
        parts: Any = (self.training, recovery, prompts, self.store, pipeline, Silent(), StageClock())
        self.learner_control = LearnerControl(*shared, *parts)
        self.recoveries = recovery.recoveries

    async def checkpoint(self) -> None:
        await self.store.save(lambda: self.run_state.state({}), {}, self.learner_control.save)

    async def round(self) -> None:
        """Roll out, learn, go live."""
        number = self.run_state.rounds_admitted
        shards = self.run_state.admit_next()
        self.run_state.open_round(number, shards)
        for shard in shards:
            self.run_state.buffer.add_pairs([make_pair_of(one, self.run_state.version) for one in shard.admissions])
            self.run_state.intake._views |= {one.admission_id: (self.pictures, one.admission_id) for one in shard.admissions}
        await self.learner_control.learn(number, self._written)
        self.run_state.weights_live(number)
        self.learner_control.has_moved = False

    async def _written(self) -> None:
        return

    def check_lineage(self) -> None:
        """Each trained pair is in the weights once, and the ledger names a version of it that survives."""
        learned = self.run_state.ledger.learned()
        assert sorted(self.learner.weights) == sorted(learned)
        for round_number, version in learned.values():
            assert version is not None and self.run_state.lineage.survives(version) and version.number == round_number + 1


@pytest.fixture(autouse=True)
def _no_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.loop.learning.round_training.ray.put", lambda value: value)


def _column(run: Run, name: str) -> list[Any]:
    return run.run_state.ledger.to_table().column(name).to_pylist()


def test_an_undisturbed_run_learns_each_pair_once(tmp_path: Path) -> None:
    run = Run(tmp_path, FakeLearner(), FakePipeline())

    async def main() -> None:
        await run.learner_control.show()
        for _ in range(3):
            await run.round()

    asyncio.run(main())
    assert run.learner.weights == list(range(12))
    assert _column(run, "learned") == ["0.1"] * 4 + ["0.2"] * 4 + ["0.3"] * 4
    assert _column(run, "rolled_back") == [[]] * 12
    run.check_lineage()


def test_rounds_trained_since_the_checkpoint_are_marked_and_replayed_and_each_pair_stays_in_the_weights_once(tmp_path: Path) -> None:
    pipeline = FakePipeline()
    run = Run(tmp_path, FakeLearner(lost_at=(3,)), pipeline)

    async def main() -> None:
        await run.learner_control.show()
        await run.round()
        await run.checkpoint()
        await run.round()
        await run.round()

    asyncio.run(main())
    assert run.learner.weights == list(range(12)) and run.learner.formed == 1
    assert _column(run, "learned") == ["0.1"] * 4 + ["1.2"] * 4 + ["1.3"] * 4
    assert _column(run, "rolled_back") == [[]] * 4 + [["0.2"]] * 4 + [[]] * 4
    assert [str(version) for version in pipeline.live] == ["0.0", "0.1", "0.2", "1.2", "1.3"]
    assert [(one.incarnation, one.round, one.pairs) for one in run.recoveries.replayed] == [(1, 1, 4)]
    run.check_lineage()


def test_a_learner_lost_again_while_it_replays_gives_its_incarnation_up(tmp_path: Path) -> None:
    """Three calls train rounds 0 to 2, the third is lost; the replay of round 0 succeeds, that of round 1 is lost, then all goes well."""
    run = Run(tmp_path, FakeLearner(lost_at=(3, 5)), FakePipeline())

    async def main() -> None:
        await run.learner_control.show()
        await run.checkpoint()
        for _ in range(3):
            await run.round()

    asyncio.run(main())
    assert run.learner.weights == list(range(12)) and run.learner.formed == 2
    assert _column(run, "learned") == ["2.1"] * 4 + ["2.2"] * 4 + ["2.3"] * 4
    assert _column(run, "rolled_back") == [["0.1", "1.1"]] * 4 + [["0.2"]] * 4 + [[]] * 4
    run.check_lineage()


def test_without_any_checkpoint_the_models_own_folder_is_where_the_replay_begins(tmp_path: Path) -> None:
    run = Run(tmp_path, FakeLearner(lost_at=(2,)), FakePipeline())

    async def main() -> None:
        await run.learner_control.show()
        await run.round()
        await run.round()

    asyncio.run(main())
    assert run.learner.weights == list(range(8))
    run.check_lineage()


def test_a_pair_that_the_journal_has_lost_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    run = Run(tmp_path, FakeLearner(lost_at=(2,)), FakePipeline())

    async def main() -> None:
        await run.learner_control.show()
        await run.round()
        (tmp_path / "run" / "pairs" / "round-00000.parquet").unlink()
        await run.round()

    with pytest.raises(CheckpointError, match=r"round-00000\.parquet lacks 4 pairs .* the first of admission 0"):
        asyncio.run(main())


def test_weights_that_go_away_before_all_workers_pulled_them_are_made_again(tmp_path: Path) -> None:
    """The round's new weights are lost, so the round is trained again; nothing had been live that learned from it."""
    pipeline = FakePipeline(lost=(PolicyVersion(0, 1),))
    run = Run(tmp_path, FakeLearner(), pipeline)

    async def main() -> None:
        await run.learner_control.show()
        await run.checkpoint()
        await run.round()

    asyncio.run(main())
    assert [str(version) for version in pipeline.live] == ["0.0", "1.0", "1.1"]
    assert run.learner.weights == list(range(4)) and run.recoveries.count == 1
    run.check_lineage()


def test_the_first_weights_may_be_lost_as_well(tmp_path: Path) -> None:
    pipeline = FakePipeline(lost=(PolicyVersion(0, 0),))
    run = Run(tmp_path, FakeLearner(), pipeline)
    asyncio.run(run.learner_control.show())
    assert [str(version) for version in pipeline.live] == ["1.0"]


def test_a_worker_that_finds_the_live_weights_gone_between_two_rounds_gets_others(tmp_path: Path) -> None:
    """As when it replaced another after the learner's node died: the loop waits for rollouts, and they for that worker."""
    pipeline = FakePipeline()
    run = Run(tmp_path, FakeLearner(), pipeline)

    async def rollouts() -> str:
        assert pipeline.publication.published is not None
        await pipeline.publication.next_after_loss(pipeline.publication.published, "its node died")
        return "rolled out"

    async def main() -> str:
        await run.learner_control.show()
        await run.round()
        return await run.learner_control.while_waiting(rollouts())

    assert asyncio.run(main()) == "rolled out"
    assert [str(version) for version in pipeline.live] == ["0.0", "0.1", "1.1"]
    run.check_lineage()


def test_a_learner_that_is_lost_for_ever_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    run = Run(tmp_path, FakeLearner(lost_at=tuple(range(1, 20))), FakePipeline(), "recovery.learner_restarts=2")

    async def main() -> None:
        await run.learner_control.show()
        await run.round()

    with pytest.raises(LearnerError, match="rank 0 died \\(it was re-formed 2 times"):
        asyncio.run(main())


def test_a_learner_that_is_lost_while_it_starts_is_started_again(tmp_path: Path) -> None:
    run = Run(tmp_path, FakeLearner(lost_at=(0,)), FakePipeline())
    asyncio.run(run.learner_control.start())
    assert run.learner.formed == 1


def test_a_resumed_run_that_loses_its_learner_at_once_goes_on_from_the_same_checkpoint(tmp_path: Path) -> None:
    pipeline = FakePipeline(lost=(PolicyVersion(1, 1),))
    run, again = (Run(tmp_path, FakeLearner(), one) for one in (FakePipeline(), pipeline))

    async def main() -> None:
        await run.learner_control.show()
        await run.round()
        await run.checkpoint()
        state = run.store.newest({}, lambda text: None)
        assert state is not None
        again.run_state.restore(state)
        await again.learner_control.show(state.rounds_done)
        await again.round()

    asyncio.run(main())
    assert [str(version) for version in pipeline.live] == ["2.1", "2.2"]
    assert again.learner.weights == list(range(8)) and again.recoveries.replayed == []
    again.check_lineage()


def test_a_learner_lost_while_it_saves_leaves_nothing_of_its_own_in_the_checkpoint_of_the_next(tmp_path: Path) -> None:
    """With fewer ranks than before, the shares of the others would be taken for parts of it."""
    run = Run(tmp_path, FakeLearner(), FakePipeline())

    async def main() -> None:
        await run.learner_control.show()
        await run.round()
        run.learner.is_lost_in_save = True
        await run.checkpoint()

    asyncio.run(main())
    assert run.learner.formed == 1 and run.store.newest_step(lambda text: None) == 1
    assert sorted(path.name for path in Path(run.store.url(1)).iterdir()) == ["manifest.json", "state-0", "weights.json"]


def test_pictures_that_may_have_gone_with_the_learners_node_are_loaded_again(tmp_path: Path) -> None:
    """A group re-formed would be lost again by the same pictures, as often as it may be."""
    asked = list[Any]()

    class SeeingTraining(BlindTraining):
        def _views(self, pairs: Any) -> Any:
            asked.append(self._run_state.intake.views_of(pairs))
            return [], []

    run = Run(tmp_path, FakeLearner(lost_at=(1,)), FakePipeline(), training=SeeingTraining)
    run.pictures = "pictures that a rank's node holds"

    async def main() -> None:
        await run.learner_control.show()
        await run.round()

    asyncio.run(main())
    assert asked == [([run.pictures], [(0, row) for row in range(4)]), None]
    run.check_lineage()


def test_former_rounds_are_replayed_with_a_round_and_again_the_same_when_it_is_learned_again(tmp_path: Path) -> None:
    settings = ("learner.replay=0.5", "learner.replay_rounds=1")
    run = Run(tmp_path, FakeLearner(lost_at=(2,)), FakePipeline(), *settings)

    async def main() -> None:
        await run.learner_control.show()
        for _ in range(3):
            await run.round()

    asyncio.run(main())
    replayed = [[group.admission.admission_id for group in run.training.replayed(number, 4)] for number in range(3)]
    assert replayed[0] == [] and [len(ids) for ids in replayed[1:]] == [2, 2]
    assert set(replayed[1]) <= set(range(4)) and set(replayed[2]) <= set(range(4, 8))
    assert run.learner.weights == [*range(4), *range(4, 8), *replayed[1], *range(8, 12), *replayed[2]]


def test_the_result_goes_live_by_its_own_name_and_a_lost_learner_comes_back_with_it(tmp_path: Path) -> None:
    """Lost weights are noticed while the result is measured: the policy that is measured must not become the last one meanwhile."""
    pipeline = FakePipeline()
    run = Run(tmp_path, FakeLearner(), pipeline)

    async def measuring() -> str:
        assert pipeline.publication.published is not None
        await pipeline.publication.next_after_loss(pipeline.publication.published, "its node died")
        return "measured"

    async def main() -> str:
        await run.learner_control.show()
        for _ in range(3):
            await run.round()
            await run.checkpoint()
        await run.learner_control.show_result(2, PolicyVersion(0, 2))
        assert run.learner.weights == list(range(8)) and run.learner_control.has_moved
        return await run.learner_control.while_waiting(measuring())

    assert asyncio.run(main()) == "measured"
    assert [str(version) for version in pipeline.live] == ["0.0", "0.1", "0.2", "0.3", "0.2", "0.2"]
    assert run.learner.formed == 1 and run.learner.weights == list(range(8))
    live = run.learner_control.live
    assert live is not None and live.sha256 == json.dumps(list(range(8))) and run.learner_control.has_moved


def test_the_reference_is_asked_again_by_a_new_group_where_the_learner_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = list[list[str]]()

    def views(config: Config, source: Any, product_ids: list[str]) -> tuple[list[str], list[tuple[int, int]]]:
        loaded.append(product_ids)
        return ["block"], [(0, 0)]

    monkeypatch.setattr("actors.loop.learning.learner_control.load_views", views)
    run = Run(tmp_path, FakeLearner(), FakePipeline())
    run.learner.reference_lost = 1
    rollout = Rollout("a", (1, 2), (-1.0, -2.0))
    group = RolloutGroup(Admission(0, -1, "mug", 5), PolicyVersion(0, 1), "write", (rollout,))

    async def main() -> Any:
        await run.learner_control.show()
        await run.round()
        await run.checkpoint()
        return await run.learner_control.initial_log_probs([group], None)  # type: ignore[arg-type]

    assert asyncio.run(main()) == [[(-1.0, -2.0)]]
    assert loaded == [["mug"], ["mug"]] and run.learner.formed == 1
