"""Jobs as a user sends them to a real Ray head: logs, exit codes, stopping the submitter, stopping the job."""

import json
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from ray.job_submission import JobStatus, JobSubmissionClient

from tests.cluster.test_dashboard import queried
from tests.ray_head import REPOSITORY, free_ports, ray_head
from tests.test_end_to_end import CAIG, SMALL, train

pytestmark = pytest.mark.slow


METRICS_PORT = free_ports(1)[0]
BRIEF = [*SMALL, "rollout.rounds=1", "rollout.products_per_round=4", "evaluation.products=4"]
"""The shortest whole run."""
SEEN = ["rollout.rounds=5"]
"""Long enough for a scrape: Ray hands metrics to the port every 10 s, and the numbers of a round come at its end."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ray_head(metrics_port=METRICS_PORT) as found:
        yield found


@contextmanager
def scraping(port: int) -> Iterator[set[str]]:
    """Names of all series that a metrics port of this machine shows at any time inside the block."""
    names: set[str] = set()
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(1.0):
            try:
                text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
            except requests.RequestException:  # the agent opens its port some time after the dashboard
                continue
            names.update(line.partition("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#"))

    thread = threading.Thread(target=scrape, daemon=True)
    thread.start()
    try:
        yield names
    finally:
        over.set()
        thread.join()


def submit(address: str, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [CAIG, "submit", "configs/demo.yaml", "--address", address, *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=500, **options)


def ended(client: JobSubmissionClient, job_id: str, limit_s: float = 400) -> JobStatus:
    """The job's status once it is terminal; fails after `limit_s`."""
    limit = time.monotonic() + limit_s
    while not (status := client.get_job_status(job_id)).is_terminal():
        assert time.monotonic() < limit, client.get_job_logs(job_id)[-2000:]
        time.sleep(1)
    return status


def log_holding(client: JobSubmissionClient, job_id: str, text: str, limit_s: float = 300) -> str:
    limit = time.monotonic() + limit_s
    while text not in (log := client.get_job_logs(job_id)):
        assert time.monotonic() < limit and not client.get_job_status(job_id).is_terminal(), log[-2000:]
        time.sleep(0.5)
    return log


def test_the_demo_runs_as_a_job_its_log_reaches_the_submitter_and_a_scrape_holds_what_the_dashboard_queries(address: str, tmp_path: Path):
    labels = ["learner.node_labels.role=everything", "pools.renderer.node_labels.role=everything"]
    with scraping(METRICS_PORT) as scraped:
        done = submit(address, f"run.root={tmp_path}", "run.name=job", *SMALL, *SEEN, *labels)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert queried() <= scraped, sorted(queried() - scraped)
    live = json.loads((tmp_path / "job" / "live.json").read_text())
    assert live["rounds_done"] == 5 and live["pools"]["renderer"]["desired"] == 2
    assert "round 1" in done.stdout and "report:" in done.stdout
    assert json.loads((tmp_path / "job" / "summary.json").read_text())["status"] == "done"


def test_a_scrape_while_the_demo_runs_on_its_own_holds_what_the_dashboard_queries(tmp_path: Path):
    (port,) = free_ports(1)
    with scraping(port) as scraped:
        train(tmp_path, "run.name=alone", *SEEN, f"cluster.metrics_port={port}")
    assert queried() <= scraped, sorted(queried() - scraped)


def plain_command(address: str, root: Path) -> list[str]:
    """The command of docs/clusters.md, with this head's address and a run folder of the test's own."""
    (block,) = re.findall(r"```bash\n(ray job submit .*?)```", (REPOSITORY / "docs" / "clusters.md").read_text(), re.DOTALL)
    words = shlex.split(block.replace("\\\n", " ").replace("$PWD/runs", str(root)))
    words[words.index("http://127.0.0.1:8265")] = address
    return [str(Path(sys.executable).with_name("ray")), *words[1:]]


def test_the_plain_ray_command_of_the_docs_runs_the_same_job(address: str, tmp_path: Path):
    done = subprocess.run([*plain_command(address, tmp_path), *BRIEF], cwd=REPOSITORY, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert json.loads((tmp_path / "plain" / "summary.json").read_text())["status"] == "done"


def test_a_job_that_fails_ends_the_submitter_with_the_jobs_own_code(address: str, tmp_path: Path):
    (tmp_path / "empty.csv").write_text("product_id,title,image\n1,Mug,none.png\n")
    failed = submit(address, f"run.root={tmp_path}", f"catalog.path={tmp_path / 'empty.csv'}")
    assert failed.returncode == 1
    assert "image_missing" in failed.stdout


def test_a_package_that_cannot_be_installed_is_one_clear_line(address: str, tmp_path: Path):
    failed = submit(address, f"run.root={tmp_path}", "--pip", "caig-rl-has-no-such-package==9")
    assert failed.returncode == 1
    assert "a package cannot be installed on the nodes" in failed.stderr
    assert "caig-rl-has-no-such-package" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_stopping_the_submitter_leaves_the_job_and_stopping_the_job_leaves_a_checkpoint(address: str, tmp_path: Path):
    client = JobSubmissionClient(address)
    before = {job.submission_id for job in client.list_jobs()}
    command = [CAIG, "submit", "configs/demo.yaml", "--address", address, f"run.root={tmp_path}", "run.name=stopped", *BRIEF]
    command += ["rollout.rounds=50", "learner.checkpoint_every=50"]
    submitter = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert submitter.stdout is not None
        assert any(line.startswith("job ") for line in submitter.stdout)
        (job_id,) = {job.submission_id for job in client.list_jobs()} - before
        log_holding(client, job_id, "round 1")
    finally:
        submitter.send_signal(signal.SIGINT)
        said, _ = submitter.communicate(timeout=60)
    assert submitter.returncode == 130 and "goes on" in said, said
    assert client.get_job_status(job_id) == JobStatus.RUNNING
    client.stop_job(job_id)
    assert ended(client, job_id) == JobStatus.STOPPED
    run = tmp_path / "stopped"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "stopped", client.get_job_logs(job_id)[-2000:]
    assert (run / "checkpoints" / str(summary["rounds"]) / "manifest.json").is_file()
