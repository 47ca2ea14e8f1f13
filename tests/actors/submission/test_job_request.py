"""What a submission holds."""

import shlex
from pathlib import Path

import pytest

from actors.submission.job_client import failure_line
from actors.submission.job_request import JobOptions, dashboard_address, job_request
from caig_rl.config.load import load_config
from caig_rl.errors import UserError

HERE, FAR = "http://127.0.0.1:8265", "http://head.example:8265"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "own.yaml").write_text("run: {name: own}\n")
    (tmp_path / "my products.csv").write_text("title,image\n")
    return tmp_path


def request(folder: Path, *overrides: str, address: str = HERE, **options):
    file = folder / "configs" / "own.yaml"
    return job_request(file, overrides, load_config(file, overrides), JobOptions(str(folder), **options), address)


def test_the_command_names_the_config_as_the_job_will_find_it(folder: Path):
    words = shlex.split(request(folder, "learner.lr=1e-4").entrypoint)
    assert words[:5] == ["python", "-m", "caig_rl.cli", "train", "configs/own.yaml"]
    assert "learner.lr=1e-4" in words


def test_an_override_with_spaces_stays_one_word(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    assert "catalog.path=my products.csv" in shlex.split(request(folder, "catalog.path=my products.csv").entrypoint)


def test_a_relative_run_root_becomes_the_submitters_own_folder_on_this_machine(folder: Path):
    made = request(folder)
    assert f"run.root={folder}/runs" in shlex.split(made.entrypoint)
    assert made.metadata == {"caig_rl_run": f"{folder}/runs/own"}


def test_a_relative_run_root_is_refused_for_a_cluster_elsewhere(folder: Path):
    with pytest.raises(UserError, match="which Ray deletes"):
        request(folder, address=FAR)


def named(entrypoint: str, key: str) -> str:
    """The last value of `key` in the job's command, which is the one that counts."""
    return [word for word in shlex.split(entrypoint) if word.startswith(f"{key}=")][-1].partition("=")[2]


@pytest.mark.parametrize("key", ["catalog.path", "policy.model", "renderer.model", "reward.model", "guard.reward"])
def test_what_is_not_sent_along_is_named_in_full_on_this_machine_and_refused_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch, key: str
):
    monkeypatch.chdir(folder)
    assert named(request(folder, f"{key}=runs/mine").entrypoint, key) == f"{folder}/runs/mine"
    far = {"address": FAR}
    assert named(request(folder, f"{key}=/mnt/mine", "run.root=/mnt/runs", **far).entrypoint, key) == "/mnt/mine"
    assert named(request(folder, f"{key}=data/mine", "run.root=/mnt/runs", **far).entrypoint, key) == "data/mine"
    for elsewhere in ("runs/mine", "../mine"):
        with pytest.raises(UserError, match=rf"{key} = {elsewhere} is not among the files that are sent along"):
            request(folder, f"{key}={elsewhere}", "run.root=/mnt/runs", **far)


def test_a_run_root_that_every_node_reaches_is_left_alone(folder: Path):
    assert request(folder, "run.root=s3://bucket/runs", address=FAR).metadata == {"caig_rl_run": "s3://bucket/runs/own"}


def test_the_job_joins_the_cluster_it_was_sent_to_whatever_the_config_names(folder: Path):
    assert shlex.split(request(folder, "cluster.address=ray://elsewhere").entrypoint)[-1] == "cluster.address=null"


def test_the_job_is_given_time_for_its_checkpoint_when_it_is_stopped(folder: Path):
    made = request(folder, "run.stop_grace_s=84.5", env={"A": "1"}, flags=("--resume", "--change=learner.lr"), pip=("left-pad",))
    # Ray must wait longer than the run takes at most.
    assert made.runtime_env["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "90", "A": "1"}
    assert made.runtime_env["pip"] == ["left-pad"]
    assert shlex.split(made.entrypoint)[-2:] == ["--resume", "--change=learner.lr"]


def test_a_missing_working_directory_is_named(folder: Path):
    file = folder / "configs" / "own.yaml"
    with pytest.raises(UserError, match="no such folder"):
        job_request(file, (), load_config(file), JobOptions(str(folder / "gone")), HERE)


def test_a_config_outside_the_working_directory_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    other = tmp_path_factory.mktemp("elsewhere") / "own.yaml"
    other.write_text("run: {name: own}\n")
    with pytest.raises(UserError, match="not below the working directory"):
        job_request(other, (), load_config(other), JobOptions(str(folder)), HERE)


@pytest.mark.parametrize(("text", "address"), [("head:8265", "http://head:8265"), ("https://ray.corp/", "https://ray.corp")])
def test_an_address_may_leave_out_its_scheme(text: str, address: str):
    assert dashboard_address(text) == address


@pytest.mark.parametrize("text", ["ray://head:10001", "auto"])
def test_what_only_ray_init_understands_is_answered_with_what_is_wanted(text: str):
    with pytest.raises(UserError, match="dashboard of the Ray head"):
        dashboard_address(text)


def test_the_package_managers_own_complaint_is_what_the_user_reads():
    message = "runtime_env setup failed: ...\n  pip output:\nERROR: No matching distribution found for nonesuch==9\nTraceback: ..."
    assert failure_line(message) == "a package cannot be installed on the nodes: No matching distribution found for nonesuch==9"


def test_a_package_index_that_the_nodes_cannot_reach_is_named_as_the_reason():
    message = (
        "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError('<Connection object at 0x7f>: "
        "Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/s3fs/\n"
        "ERROR: No matching distribution found for s3fs"
    )
    assert failure_line(message) == (
        "a package cannot be installed on the nodes: No matching distribution found for s3fs "
        "(the nodes do not reach the package index: [Errno -3] Temporary failure in name resolution)"
    )
