"""Starting again without looking."""

from pathlib import Path

from actors.restarting import resume_or_start
from caig_rl.config.schema import Config


def config(tmp_path: Path) -> Config:
    return Config.model_validate({"run": {"root": str(tmp_path), "name": "job"}})


def test_a_run_that_never_was_starts(tmp_path: Path):
    assert resume_or_start(config(tmp_path), print) is False
    assert list(tmp_path.iterdir()) == []


def test_a_run_with_a_checkpoint_goes_on(tmp_path: Path):
    (tmp_path / "job" / "checkpoints" / "3").mkdir(parents=True)
    (tmp_path / "job" / "checkpoints" / "3" / "manifest.json").write_text("{}")
    notes: list[str] = []
    assert resume_or_start(config(tmp_path), notes.append) is True
    assert "going on" in notes[0]


def test_a_run_that_ended_before_its_first_checkpoint_is_set_aside_whole(tmp_path: Path):
    for content in ("first", "second"):
        (tmp_path / "job" / "checkpoints" / "1").mkdir(parents=True)
        (tmp_path / "job" / "config.yaml").write_text(content)
        assert resume_or_start(config(tmp_path), lambda text: None) is False
    assert not (tmp_path / "job").exists()
    assert (tmp_path / "job.unfinished-1" / "config.yaml").read_text() == "first"
    assert (tmp_path / "job.unfinished-2" / "config.yaml").read_text() == "second"
