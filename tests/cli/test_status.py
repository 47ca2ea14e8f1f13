"""`caig-rl status ADDRESS`: the jobs of a cluster, told by a fake of Ray's job server."""

from types import SimpleNamespace

import pytest
from ray.job_submission import JobStatus
from typer.testing import CliRunner

from caig_rl.cli import app
from caig_rl.cli.status import _cluster
from caig_rl.errors import UserError

ADDRESS = "http://head:8265"


def job(name: str, status: JobStatus, message: str = "") -> SimpleNamespace:
    """As much of Ray's record as is shown."""
    known = {"submission_id": name, "start_time": 60_000, "end_time": 180_000, "metadata": {"caig_rl_run": "s3://bucket/[/runs]/a"}}
    return SimpleNamespace(status=status, message=message, **known)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What the cluster knows of."""
    known: list[SimpleNamespace] = []
    monkeypatch.setattr("actors.job_client.JobClient", lambda address: SimpleNamespace(jobs=lambda: known))
    return known


def test_every_job_has_a_row_with_its_run_folder_and_its_last_words(jobs: list[SimpleNamespace]):
    jobs += [job("raysubmit_1", JobStatus.FAILED, "first\nlast [words]"), job("raysubmit_2", JobStatus.RUNNING)]
    done = CliRunner().invoke(app, ["status", ADDRESS], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert all(word in done.stdout for word in ("raysubmit_1", "FAILED", "2.0", "s3://bucket/[/runs]/a", "last [words]", "RUNNING"))


def test_the_table_is_renewed_until_every_job_has_ended(jobs: list[SimpleNamespace]):
    jobs += [job("a", JobStatus.SUCCEEDED), job("b", JobStatus.PENDING)]
    look = _cluster(ADDRESS)
    assert look()[1] is False
    jobs[1].status = JobStatus.STOPPED
    assert look()[1] is True


def test_a_cluster_without_jobs_says_how_to_start_one(jobs: list[SimpleNamespace]):
    with pytest.raises(UserError, match="caig-rl submit CONFIG --address http://head:8265"):
        _cluster(ADDRESS)()
