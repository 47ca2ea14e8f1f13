"""`caig-rl submit` as it refuses: one line, exit code 1 (2 for wrong usage), and nothing sent."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from typer.testing import CliRunner

from actors.submission.job_request import JobRequest
from caig_rl.cli import app
from tests.ray_head import free_ports

CONFIG = "configs/own.yaml"


class _Shop(BaseHTTPRequestHandler):
    """A web server of another kind."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / CONFIG).write_text("run: {name: own}\n")
    monkeypatch.chdir(tmp_path)


def refused(*options: str, code: int = 1) -> str:
    """The one line on standard error."""
    result = CliRunner().invoke(app, ["submit", CONFIG, *options])
    assert result.exit_code == code and result.stdout == "", result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error ")
    return line


def test_a_missing_working_directory():
    assert "--working-dir gone: there is no such folder" in refused("--working-dir", "gone")


def test_a_cluster_that_cannot_be_reached():
    address = f"http://127.0.0.1:{free_ports(1)[0]}"
    assert f"{address} cannot be reached: name the dashboard of the Ray head" in refused("--address", address)


def test_a_port_that_is_no_dashboard(shop: int):
    assert "is not a Ray dashboard (/api/version answered 404)" in refused("--address", f"http://127.0.0.1:{shop}")


def test_a_variable_without_a_value():
    assert "--env A: a variable is written NAME=VALUE" in refused("--env", "A", code=2)


def test_a_change_without_a_resume():
    assert "--change learner.lr is for a run that is gone on with: give --resume" in refused("--change", "learner.lr", code=2)


ABLATION = "configs/both.yaml"
BOTH = "base: own.yaml\nseeds: [0, 1]\narms:\n  dpo: {overrides: [objective=dpo]}\n  sft: {overrides: [objective=sft]}\n"


def ablation(*options: str, code: int = 1, text: str = BOTH) -> str:
    """The one line with which `submit ablate` refuses."""
    Path(ABLATION).write_text(text)
    result = CliRunner().invoke(app, ["submit", "ablate", ABLATION, *options])
    assert result.exit_code == code and result.stdout == "", result.output
    (line,) = result.stderr.splitlines()
    return line


def test_an_ablation_with_a_mistake_is_not_sent():
    assert "--only: there is no arm 'dpi'; the nearest is dpo" in ablation("--only", "dpi", code=2)
    assert "--seeds 7: the ablation has the seeds 0, 1" in ablation("--seeds", "7", code=2)


def test_an_ablation_goes_on_without_being_told():
    assert "--resume: an ablation goes on where it stands by itself" in ablation("--resume", code=2)


def test_arms_are_selected_of_ablations_only():
    assert "--only=dpo selects arms and seeds of an ablation" in refused("--only", "dpo", code=2)


def test_an_ablation_whose_arm_names_a_model_that_stays_here_is_not_sent():
    text = BOTH.replace("objective=sft", "policy.model=runs/mine")
    assert "policy.model = runs/mine is not among the files that are sent along" in ablation(text=text)


def test_an_ablation_without_a_file_is_refused():
    result = CliRunner().invoke(app, ["submit", "ablate", "run.name=x"])
    assert result.exit_code == 2 and "name the ablation's file" in result.stderr


class _Client:
    """A cluster that takes every job and runs none."""

    sent: ClassVar[list[JobRequest]] = []

    def __init__(self, address: str) -> None:
        self.address = address

    def submit(self, request: JobRequest) -> str:
        self.sent.append(request)
        return "job-1"


def sent(monkeypatch: pytest.MonkeyPatch, *words: str) -> JobRequest:
    """What the command line sends."""
    Path(ABLATION).write_text(BOTH)
    _Client.sent.clear()
    monkeypatch.setattr("actors.submission.job_client.JobClient", _Client)
    result = CliRunner().invoke(app, ["submit", *words, "--no-follow"])
    assert result.exit_code == 0, result.output
    (request,) = _Client.sent
    return request


def test_an_ablation_is_sent_with_its_arms_and_the_folder_that_it_will_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    request = sent(monkeypatch, "ablate", ABLATION, "rollout.rounds=2", "--only", "dpo", "--seeds", "0,1")
    words = shlex.split(request.entrypoint)
    assert words[:5] == ["python", "-m", "caig_rl.cli", "ablate", ABLATION] and words[-2:] == ["--only=dpo", "--seeds=0,1"]
    assert "rollout.rounds=2" in words and f"run.root={tmp_path}/runs" in words
    assert request.metadata == {"caig_rl_run": f"{tmp_path}/runs/both"}
    renamed = sent(monkeypatch, "ablate", ABLATION, "run.name=other")
    assert renamed.metadata == {"caig_rl_run": f"{tmp_path}/runs/other"}


@pytest.mark.parametrize("words", [("train", CONFIG), (CONFIG,)])
def test_a_run_is_sent_with_or_without_the_word_train(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]):
    assert shlex.split(sent(monkeypatch, *words).entrypoint)[3:5] == ["train", CONFIG]
