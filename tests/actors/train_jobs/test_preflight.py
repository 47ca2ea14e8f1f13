"""What a training job refuses before any work, as a user meets it: an `out` whose content it would delete, a job that runs already."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from actors.train_jobs.preflight import only_start, refuse_out
from caig_rl.cli import app
from caig_rl.errors import ConfigError
from caig_rl.imaging.views import save_png
from caig_rl.models.folders import resolve_model_folder
from caig_rl.runs.driver_lock import RunTaken, held
from caig_rl.runs.folder import RunFolder
from caig_rl.world.show import show_world

runner = CliRunner()
NANO = resolve_model_folder("nano", "policy")
COMMANDS = pytest.mark.parametrize(
    ("command", "key"),
    [(["reward", "train", f"reward.train.backbone={NANO}"], "reward.train.out"), (["pretrain"], "pretrain.out")],
)


@COMMANDS
def test_a_folder_with_other_files_is_refused_before_any_work(tmp_path: Path, command: list[str], key: str):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "paper.pdf").write_text("a year's work")
    result = runner.invoke(app, [*command, f"{key}={tmp_path / 'runs'}"])
    assert result.exit_code == 2
    assert f"{key}: {tmp_path / 'runs'} holds other files (paper.pdf) and would be replaced" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


@COMMANDS
@pytest.mark.parametrize("name", [".", "..", "/"])
def test_the_current_folder_and_what_holds_it_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], key: str, name: str
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = runner.invoke(app, [*command, f"{key}={name}"])
    assert result.exit_code == 2
    assert re.search(rf"{key}: .* is the current folder or holds it", result.stderr)


@COMMANDS
def test_a_file_is_refused(tmp_path: Path, command: list[str], key: str):
    (tmp_path / "model").write_text("not a folder")
    result = runner.invoke(app, [*command, f"{key}={tmp_path / 'model'}"])
    assert result.exit_code == 2
    assert f"{key}: {tmp_path / 'model'} is no folder" in result.stderr


@COMMANDS
def test_the_model_that_a_job_starts_from_is_not_replaced_by_it(tmp_path: Path, command: list[str], key: str):
    source = tmp_path / "backbone"
    source.symlink_to(shutil.copytree(NANO, tmp_path / "model"))
    result = runner.invoke(app, [*command, f"{key.replace('.out', '.backbone')}={source}", f"{key}={tmp_path / 'model'}"])
    assert result.exit_code == 2
    assert "is where the job starts from, or holds it" in result.stderr


@pytest.mark.parametrize(("model_file", "other"), [("reward.json", "config.json"), ("config.json", "reward.json")])
def test_an_empty_folder_and_an_earlier_model_of_the_same_kind_are_written_to(tmp_path: Path, model_file: str, other: str):
    out, start = tmp_path / "model", tmp_path / "backbone"
    refuse_out(out, "x.out", model_file, start)
    out.mkdir()
    refuse_out(out, "x.out", model_file, start)
    (out / other).write_text("{}")
    with pytest.raises(ConfigError, match="holds other files"):
        refuse_out(out, "x.out", model_file, start)
    (out / model_file).write_text("{}")
    refuse_out(out, "x.out", model_file, start)


def test_one_start_at_a_time_is_in_a_job_folder(tmp_path: Path):
    with only_start(tmp_path / "model"):
        with (
            pytest.raises(RunTaken, match=r"model-job is being written by another driver .*another folder"),
            only_start(tmp_path / "model"),
        ):
            raise AssertionError("two at once")
        with only_start(tmp_path / "other"):
            pass
    with only_start(tmp_path / "model"):
        pass


def test_a_second_start_does_not_touch_the_files_of_a_running_job(tmp_path: Path):
    show_world(tmp_path, 0, 2, 2)
    files = tmp_path / "model-job" / "files"
    files.mkdir(parents=True)
    (files / "files.json").write_text(json.dumps({"source": "the running job's", "rows": {}, "content": {}}))
    settings = [f"catalog.path={tmp_path / 'products.csv'}", f"pretrain.out={tmp_path / 'model'}", "policy.image_size=32"]
    with held(RunFolder(str(tmp_path), "model-job")):
        result = runner.invoke(app, ["pretrain", *settings])
    assert result.exit_code == 1
    assert "is being written by another driver" in result.stderr
    assert [path.name for path in files.iterdir()] == ["files.json"]


def test_a_second_reward_training_does_not_touch_the_files_of_a_running_one(tmp_path: Path):
    _write_pairs(tmp_path)
    settings = [f"clicks.path={tmp_path}/clicks.csv", f"clicks.out={tmp_path}/pairs", f"reward.train.out={tmp_path / 'model'}"]
    settings.append(f"reward.train.backbone={NANO}")
    (tmp_path / "model-job").mkdir()
    with held(RunFolder(str(tmp_path), "model-job")):
        result = runner.invoke(app, ["reward", "train", *settings])
    assert result.exit_code == 1
    assert "is being written by another driver" in result.stderr
    assert not (tmp_path / "model-job" / "files").exists()


def _write_pairs(folder: Path) -> None:
    save_png(np.full((32, 32, 3), 90, np.uint8), folder / "ad.png")
    lines = [f"p{p},c{c},ad.png,4000,{60 + 40 * c}" for p in range(20) for c in range(2)]
    (folder / "clicks.csv").write_text("\n".join(["product,creative,image,impressions,clicks", *lines]) + "\n")
    assert runner.invoke(app, ["data", "pairs", f"clicks.path={folder}/clicks.csv", f"clicks.out={folder}/pairs"]).exit_code == 0
