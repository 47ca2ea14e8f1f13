"""What W&B and MLflow are told of a run. Stand-ins for both, and the real MLflow and W&B where they are installed."""

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.trackers import trackers
from caig_rl.runs.trackers.trackers import TRACKING_FILE, open_trackers, refuse_missing_trackers
from tests.runs.trackers.fake_trackers import fake_mlflow, fake_wandb

ROW = {"round": 3, "loss": 0.5, "ctr": None, "policy_version": "0.4", "pairs": 4}
WANDB = Config.model_validate({"tracking": {"wandb": {"project": "mugs", "entity": "team"}}})
MLFLOW = Config.model_validate({"tracking": {"mlflow": {"uri": "http://tracking:5000", "experiment": "mugs"}}})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(str(tmp_path), "small")
    made.prepare()
    return made


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Both packages, as stand-ins."""
    modules = {"wandb": fake_wandb(), **fake_mlflow()}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(trackers, "find_spec", lambda name: ModuleSpec(name, None))
    return modules


def test_a_run_without_trackers_opens_none_and_leaves_no_file(folder: RunFolder):
    assert open_trackers(Config(), folder) == []
    assert not folder.exists(TRACKING_FILE)


@pytest.mark.parametrize(
    ("config", "key", "package"), [(WANDB, "tracking.wandb.project", "wandb"), (MLFLOW, "tracking.mlflow.uri", "mlflow")]
)
def test_a_tracker_that_is_not_installed_is_refused_with_what_to_do(
    config: Config, key: str, package: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=rf"{key} is set.*pip install {package}"):
        refuse_missing_trackers(config)


def test_wandb_gets_the_settings_each_round_on_its_own_axis_and_the_end(folder: RunFolder, installed: dict[str, Any]):
    (tracker,) = open_trackers(WANDB, folder)
    tracker.log_round(ROW)
    tracker.finish("done", {"ctr.lift": 0.1})
    (run,) = installed["wandb"].runs
    assert (run.options["project"], run.options["entity"], run.options["name"]) == ("mugs", "team", "small")
    assert run.options["config"]["learner.lr"] == Config().learner.lr
    assert run.rows == [{"round": 3, "loss": 0.5, "pairs": 4.0}] and run.axis == ("*", "round")
    assert run.summary == {"status": "done", "ctr.lift": 0.1} and run.exit_code == 0


def test_a_failed_run_is_a_failed_run_there_too(folder: RunFolder, installed: dict[str, Any]):
    for config in (WANDB, MLFLOW):
        (tracker,) = open_trackers(config, folder)
        tracker.finish("failed", {})
    assert installed["wandb"].runs[0].exit_code == 1
    assert installed["mlflow"].clients[0].status == "FAILED"


def test_mlflow_gets_all_settings_in_batches_and_each_round_as_a_step(folder: RunFolder, installed: dict[str, Any]):
    (tracker,) = open_trackers(MLFLOW, folder)
    tracker.log_round(ROW)
    tracker.finish("stopped", {"products.trained": 7.0})
    (client,) = installed["mlflow"].clients
    assert (client.uri, client.run_name, client.experiments) == ("http://tracking:5000", "small", {"mugs": "0"})
    assert len(client.params) > 100 and client.params["learner.lr"] == str(Config().learner.lr)
    assert client.metrics == [("loss", 0.5, 3), ("pairs", 4.0, 3), ("products.trained", 7.0, 0)]
    assert client.status == "KILLED"


def test_a_resumed_run_goes_on_under_the_id_that_it_had(folder: RunFolder, installed: dict[str, Any]):
    both = Config.model_validate({"tracking": {**WANDB.model_dump()["tracking"], "mlflow": {"uri": "http://tracking:5000"}}})
    first = [tracker.run_id for tracker in open_trackers(both, folder)]
    assert json.loads(folder.read_text(TRACKING_FILE)) == {"wandb": "made-by-wandb", "mlflow": "made-by-mlflow"}
    assert [tracker.run_id for tracker in open_trackers(both, folder)] == first
    assert installed["wandb"].runs[1].options["id"] == "made-by-wandb"
    assert installed["mlflow"].clients[1].params == {}


def test_a_tracker_that_refuses_the_run_is_one_clear_line(folder: RunFolder, installed: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    def refuse(**_: object) -> None:
        raise RuntimeError("401: no such\n  key")

    monkeypatch.setattr(installed["wandb"], "init", refuse)
    with pytest.raises(UserError, match="the tracker wandb does not take the run: 401: no such key"):
        open_trackers(WANDB, folder)


@pytest.mark.trackers
def test_the_real_mlflow_keeps_what_it_was_told(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    config = Config.model_validate({"tracking": {"mlflow": {"uri": uri, "experiment": "mugs"}}})
    (tracker,) = open_trackers(config, folder)
    tracker.log_round(ROW)
    tracker.finish("done", {"ctr.lift": 0.1})
    from mlflow.tracking import MlflowClient

    run = MlflowClient(tracking_uri=uri).get_run(tracker.run_id)
    assert run.info.status == "FINISHED" and run.info.run_name == "small"
    assert run.data.metrics == {"loss": 0.5, "pairs": 4.0, "ctr.lift": 0.1}
    assert run.data.params["learner.lr"] == str(Config().learner.lr)


@pytest.mark.trackers
def test_the_real_wandb_takes_a_run_offline(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    config = Config.model_validate({"tracking": {"wandb": {"project": "mugs", "mode": "offline"}}})
    (tracker,) = open_trackers(config, folder)
    tracker.log_round(ROW)
    tracker.finish("done", {"ctr.lift": 0.1})
    assert list(Path(folder.url).glob("wandb/offline-run-*/*.wandb"))
