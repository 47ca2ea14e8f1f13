"""`caig-rl status ADDRESS`: the jobs of a cluster, told by a fake of Ray's job server."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.job_submission import JobStatus
from typer.testing import CliRunner

from caig_rl.cli import app
from caig_rl.cli.status import _cluster, _dashboard
from caig_rl.runs.folder import RunFolder

ADDRESS = "http://head:8265"


def job(name: str, status: JobStatus, message: str = "") -> SimpleNamespace:
    """As much of Ray's record as is shown."""
    known = {"submission_id": name, "start_time": 60_000, "end_time": 180_000, "metadata": {"caig_rl_run": "s3://bucket/[/runs]/a"}}
    return SimpleNamespace(status=status, message=message, **known)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What the cluster knows of."""
    known: list[SimpleNamespace] = []
    monkeypatch.setattr("actors.submission.job_client.JobClient", lambda address: SimpleNamespace(jobs=lambda: known))
    return known


def test_every_job_has_a_row_with_its_run_folder_and_its_last_words(jobs: list[SimpleNamespace]):
    jobs += [job("raysubmit_1", JobStatus.FAILED, "first\nlast [words]"), job("raysubmit_2", JobStatus.RUNNING)]
    done = CliRunner().invoke(app, ["status", ADDRESS], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert all(word in done.stdout for word in ("raysubmit_1", "FAILED", "2.0", "s3://bucket/[/runs]/a", "last [words]", "RUNNING"))


@pytest.mark.parametrize(("written", "asked"), [("head:8265", ADDRESS), (ADDRESS, ADDRESS), ("10.0.0.7:80", "http://10.0.0.7:80")])
def test_a_dashboard_may_be_named_without_its_scheme(written: str, asked: str):
    assert _dashboard(written) == asked


def test_what_names_a_run_is_no_dashboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("run:1").mkdir()
    assert [_dashboard(name) for name in ("runs/demo", "s3://bucket/runs/demo", "run:1")] == ["", "", ""]


def test_the_jobs_id_is_whole_in_a_terminal_of_eighty_characters(jobs: list[SimpleNamespace]):
    jobs += [job("raysubmit_CV275tJUbnxgKQ4Z", JobStatus.RUNNING, "a long message " * 10)]
    done = CliRunner().invoke(app, ["status", "--once", ADDRESS], env={"COLUMNS": "80"})
    assert "raysubmit_CV275tJUbnxgKQ4Z" in done.stdout and "…" not in done.stdout


def test_the_table_is_renewed_until_every_job_has_ended(jobs: list[SimpleNamespace]):
    jobs += [job("a", JobStatus.SUCCEEDED), job("b", JobStatus.PENDING)]
    look = _cluster(ADDRESS)
    assert look()[1] is False
    jobs[1].status = JobStatus.STOPPED
    assert look()[1] is True


def test_a_cluster_without_jobs_is_no_fault_and_says_how_to_start_one(jobs: list[SimpleNamespace]):
    done = CliRunner().invoke(app, ["status", ADDRESS], env={"COLUMNS": "160"})
    assert done.exit_code == 0
    assert "has had no job yet; send one: caig-rl submit CONFIG --address http://head:8265" in done.stdout


def test_no_number_of_a_round_is_cut_off_in_a_terminal_of_eighty_characters(tmp_path: Path):
    row = {"pairs": 2048, "reward_score": -0.27345678, "relevance": 0.59412345, "ctr": 0.0181234, "kl": 0.000361234, "loss": 2.3571234}
    row |= {"distinct_prompts": 0.98765432, "seconds": 1234.5678}
    folder = RunFolder(str(tmp_path), "run")
    folder.write_text("config.yaml", "run: {}\n")
    folder.append_metrics({"round": 99, **row})
    done = CliRunner().invoke(app, ["status", str(tmp_path / "run")], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    assert "…" not in done.stdout
    assert all(text in done.stdout for text in ("100", "2048", "-0.273", "0.594", "0.0181", "0.000361", "2.36", "0.988", "20 min 35 s"))
