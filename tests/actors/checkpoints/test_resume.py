"""What a resume finds before Ray starts, and what it refuses."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from rich.console import Console

from actors.checkpoints.resume import find_run_to_resume
from actors.launch import train as launch
from actors.loop.online_loop import OnlineLoop
from actors.loop.preflight import preflight, preflight_of_dry_run
from actors.loop.stop_request import StopRequest
from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.errors import CheckpointError, ConfigError, ModelFolderError
from caig_rl.models.folders import resolve_model_folder
from caig_rl.runs.config_history import as_begun, write_run_config
from caig_rl.runs.driver_lock import LeaseLost, RunTaken, held
from caig_rl.runs.folder import DRIVER_FILE, RunFolder
from caig_rl.runs.summary import RunSummary, write_summary
from tests.actors.fake_fleet import LightSource
from tests.finished_run import TURNED_GUARD, make_summary_values


def begun(root: Path, status: str = "done", rounds: int = 3) -> tuple[Config, RunFolder]:
    """A run of three rounds, as far as a resume looks at it before Ray starts."""
    config, folder = settings(root), RunFolder(str(root), "run")
    folder.prepare()
    write_run_config(config, folder, 0, lambda text: None)
    write_summary(RunSummary.model_validate(make_summary_values(status=status, rounds=rounds)), folder)
    folder.write_text(f"checkpoints/{rounds}/manifest.json", "{}")
    return config, folder


def settings(root: Path, *overrides: str) -> Config:
    return load_config(None, [f"run.root={root}", "run.name=run", "rollout.rounds=3", "reward.kind=random", *overrides])


def test_a_run_that_is_done_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, folder = begun(tmp_path)
    folder.write_text("report.html", "the report")
    monkeypatch.setattr(launch, "ray_cluster", None)
    said = Console(file=io.StringIO(), width=400)
    summary = launch.run_online(config, LightSource(3), LightSource(2), None, resume=True, console=said)
    text = said.file.getvalue()  # type: ignore[attr-defined]
    assert summary.status == "done" and "already done: 3 round(s)" in text and f"report: {folder.path('report.html')}" in text


def test_at_the_end_only_files_that_are_there_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run that was stopped before its first checkpoint."""
    config, said = settings(tmp_path), Console(file=io.StringIO(), width=400)
    summary = RunSummary.model_validate(make_summary_values(status="stopped", rounds=0))

    async def stopped_early(*arguments: object) -> RunSummary:
        write_summary(summary, RunFolder(str(tmp_path), "run"))
        return summary

    monkeypatch.setattr(launch, "ray_cluster", lambda cluster: nullcontext())
    monkeypatch.setattr(launch, "refuse_what_the_cluster_lacks", lambda config: None)
    monkeypatch.setattr(launch, "_run_shown", stopped_early)
    monkeypatch.setattr(launch, "write_report", lambda folder: folder.path("report.html"))
    launch.run_online(config, LightSource(3), LightSource(2), None, resume=False, console=said)
    text = said.file.getvalue()  # type: ignore[attr-defined]
    assert "run/summary.json" in text and "metrics.jsonl" not in text and "samples" not in text


def test_a_resume_that_is_stopped_before_any_life_has_said_a_word_still_ends_as_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, said = settings(tmp_path), Console(file=io.StringIO(), width=400)
    RunFolder(str(tmp_path), "run").write_text("config.yaml", "of a life that was killed while it started")

    async def stopped_while_it_starts(*arguments: object) -> RunSummary:
        return RunSummary.model_validate(make_summary_values(status="stopped", rounds=0))

    monkeypatch.setattr(launch, "ray_cluster", lambda cluster: nullcontext())
    monkeypatch.setattr(launch, "refuse_what_the_cluster_lacks", lambda config: None)
    monkeypatch.setattr(launch, "_run_shown", stopped_while_it_starts)
    assert launch.run_online(config, LightSource(3), LightSource(2), None, resume=True, console=said).status == "stopped"
    assert "report" not in said.file.getvalue()  # type: ignore[attr-defined]


def test_a_loop_that_loses_its_folder_ends_and_writes_nothing() -> None:
    class Lost:
        def check(self) -> None:
            raise LeaseLost("it is another's")

        async def until_lost(self) -> None:
            self.check()

    async def for_ever(*arguments: object) -> None:
        await asyncio.sleep(300)

    loop = OnlineLoop.__new__(OnlineLoop)
    loop._stop, loop._begun = StopRequest(), True
    loop._folder = RunFolder("memory://lost", "run")
    loop._folder.lock = Lost()
    loop.fleet = SimpleNamespace(look_after=for_ever)  # type: ignore[assignment]
    loop._work = for_ever  # type: ignore[assignment, method-assign]
    with pytest.raises(LeaseLost):
        asyncio.run(loop.run(resume=False))
    assert not loop._folder.exists("summary.json")


@pytest.mark.parametrize("text", ["{", "{}", "\0\0"])
def test_a_damaged_summary_keeps_no_run_from_going_on(text: str, tmp_path: Path) -> None:
    config, folder = begun(tmp_path)
    folder.write_text("summary.json", text)
    assert find_run_to_resume(config, folder).words == "goes on after round 3"


def test_a_driver_that_was_killed_a_moment_ago_does_not_refuse_the_next_by_its_lease(tmp_path: Path) -> None:
    config, folder = begun(tmp_path, "stopped", 2)
    now = time.time()
    folder.write_text(DRIVER_FILE, json.dumps({"host": "far", "pid": 1, "since": now, "renewed": now, "token": "theirs", "is_lease": True}))
    found = preflight(config, LightSource(3), folder, resume=True)
    assert found is not None and found.step == 2


def test_with_more_rounds_a_run_that_was_done_goes_on(tmp_path: Path) -> None:
    _, folder = begun(tmp_path)
    found = find_run_to_resume(settings(tmp_path, "rollout.rounds=5"), folder)
    assert not found.is_done and found.words == "goes on after round 3; rollout.rounds: 3 -> 5"


def test_a_run_that_its_guard_stopped_is_done_until_a_person_takes_the_guard_off(tmp_path: Path) -> None:
    guarded = ("rollout.rounds=8", "guard.reward=runs/guard")
    config, folder = settings(tmp_path, *guarded), begun(tmp_path)[1]
    write_run_config(config, folder, 3, lambda text: None)
    write_summary(RunSummary.model_validate(make_summary_values(rounds=3, guard=TURNED_GUARD)), folder)
    found = find_run_to_resume(config, folder)
    assert found.is_done and "--change guard.stop guard.stop=false" in found.words
    off = settings(tmp_path, *guarded, "guard.stop=false")
    with pytest.raises(ConfigError, match=r"to go on with the new value: --change guard\.stop"):
        find_run_to_resume(off, folder)
    found = find_run_to_resume(off, folder, ["guard.stop"])
    assert not found.is_done and found.words == "goes on after round 3; guard.stop: True -> False"


def test_a_guard_cannot_be_exchanged_within_a_run(tmp_path: Path) -> None:
    _, folder = begun(tmp_path, "stopped", 2)
    with pytest.raises(ConfigError, match=r"guard\.reward: None -> 'runs/guard'"):
        find_run_to_resume(settings(tmp_path, "guard.reward=runs/guard"), folder)


@pytest.mark.parametrize("status", ["done", "running"])
def test_where_the_checkpoints_are_gone_nothing_begins_anew_in_silence(status: str, tmp_path: Path) -> None:
    config, folder = begun(tmp_path, status)
    (tmp_path / "run/checkpoints/3/manifest.json").unlink()
    for look in (preflight, preflight_of_dry_run):
        with pytest.raises(
            CheckpointError, match=r"has done 3 round\(s\), but no complete checkpoint is in .*checkpoints\. Put that folder"
        ):
            look(config, LightSource(3), folder, resume=True)


def test_a_round_in_the_metrics_counts_where_the_summary_is_gone_too(tmp_path: Path) -> None:
    config, folder = begun(tmp_path, "running", 0)
    (tmp_path / "run/checkpoints/0/manifest.json").unlink()
    assert find_run_to_resume(config, folder).words.startswith("begins anew")
    folder.write_text("metrics.jsonl", json.dumps({"round": 0}) + "\n")
    with pytest.raises(CheckpointError, match="has done 1 round"):
        find_run_to_resume(config, folder)


def test_checkpoints_without_the_runs_own_settings_are_refused(tmp_path: Path) -> None:
    config, folder = begun(tmp_path)
    folder.remove("config.yaml")
    with pytest.raises(CheckpointError, match=r"config\.yaml is missing"):
        find_run_to_resume(config, folder)


def test_another_setting_is_refused_by_run_and_rehearsal_unless_asked_for(tmp_path: Path) -> None:
    _, folder = begun(tmp_path, "stopped", 2)
    changed = settings(tmp_path, "learner.lr=0.5")
    for look in (preflight, preflight_of_dry_run):
        with pytest.raises(ConfigError, match=r"learner\.lr: 0\.001 -> 0\.5"):
            look(changed, LightSource(3), folder, resume=True)
    _, found = preflight_of_dry_run(changed, LightSource(3), folder, resume=True, asked=["learner.lr"])
    assert found is not None and found.words == "goes on after round 2; learner.lr: 0.001 -> 0.5"


def test_the_old_settings_are_kept_where_something_changed(tmp_path: Path) -> None:
    config, folder = begun(tmp_path, "stopped", 2)
    notes: list[str] = []
    write_run_config(config, folder, 1, notes.append)
    assert not notes and not folder.exists("config-history")
    for number, rate in enumerate((0.5, 0.25), 1):
        write_run_config(settings(tmp_path, f"learner.lr={rate}"), folder, number, notes.append)
    assert notes == ["changed after round 1: learner.lr: 0.001 -> 0.5", "changed after round 2: learner.lr: 0.5 -> 0.25"]
    assert folder.read_text("config-history/1.yaml").startswith("# until round 1 was done, then\n# learner.lr: 0.001 -> 0.5\n")
    assert load_config(tmp_path / "run/config-history/1.yaml") == config
    assert load_config(tmp_path / "run/config.yaml").learner.lr == 0.25


def without_share(folder: RunFolder) -> None:
    """Make it a run from before `catalog.heldout_share` was a key."""
    tree = yaml.safe_load(folder.read_text("config.yaml"))
    del tree["catalog"]["heldout_share"]
    folder.write_text("config.yaml", yaml.safe_dump(tree))


def test_a_run_from_before_products_were_held_out_goes_on_without(tmp_path: Path) -> None:
    config, folder = begun(tmp_path, "stopped", 2)
    assert as_begun(config, folder) is config
    without_share(folder)
    resumed = as_begun(config, folder)
    assert resumed.catalog.heldout_share == 0.0
    assert find_run_to_resume(resumed, folder).words == "goes on after round 2"
    notes: list[str] = []
    write_run_config(resumed, folder, 2, notes.append)
    assert not notes and load_config(tmp_path / "run/config.yaml") == resumed


def test_another_share_of_held_out_products_is_refused(tmp_path: Path) -> None:
    _, folder = begun(tmp_path, "stopped", 2)
    changed = settings(tmp_path, "catalog.heldout_share=0.2")
    with pytest.raises(ConfigError, match=r"catalog\.heldout_share: None -> 0\.2"):
        find_run_to_resume(as_begun(changed, folder), folder)
    without_share(folder)
    with pytest.raises(ConfigError, match=r"catalog\.heldout_share: 0\.0 -> 0\.2"):
        find_run_to_resume(as_begun(changed, folder), folder)
    with pytest.raises(ConfigError, match=r"--change catalog\.heldout_share: not a setting"):
        find_run_to_resume(changed, folder, ["catalog.heldout_share"])


def test_a_damaged_config_of_a_run_without_a_checkpoint_does_not_keep_it_from_beginning_anew(tmp_path: Path) -> None:
    config, folder = settings(tmp_path), RunFolder(str(tmp_path), "run")
    assert as_begun(config, folder) is config
    folder.write_text("config.yaml", "{")
    assert as_begun(config, folder) is config
    assert find_run_to_resume(config, folder).words.startswith("begins anew")


def test_a_folder_with_a_living_driver_is_refused_before_anything_else_is_said_of_it(tmp_path: Path) -> None:
    config, folder = begun(tmp_path)
    with held(folder.unlocked()):
        for look in (preflight, preflight_of_dry_run):
            for resume in (True, False):
                with pytest.raises(RunTaken, match="is being written by another driver"):
                    look(config, LightSource(3), folder, resume=resume)


def test_segments_that_the_reward_model_was_not_taught_are_refused_by_run_and_rehearsal(tmp_path: Path) -> None:
    reward = shutil.copytree(resolve_model_folder("nano", "reward"), tmp_path / "reward")
    spec = json.loads((reward / "reward.json").read_text()) | {"segments": ["gift givers"]}
    (reward / "reward.json").write_text(json.dumps(spec))
    named = [f"reward.model={reward}", "segments.names=[gift givers, teens]"]
    refused = pytest.raises(ModelFolderError, match="the segment 'teens'")
    kinds = {"reward.kind=model": refused, "reward.kind=random": nullcontext(), f"guard.reward={reward}": refused}
    for number, (kind, refusal) in enumerate(kinds.items()):
        config = settings(tmp_path / str(number), *named, kind)
        folder = RunFolder(config.run.root, "run")
        with refusal:
            preflight_of_dry_run(config, LightSource(3), folder, resume=False)
        with refusal:
            preflight(config, LightSource(3), folder, resume=False)
