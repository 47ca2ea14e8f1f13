"""Talks to a cluster's Ray Jobs API: submits, follows the log to the end, and says in one line what went wrong."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from actors.cluster.authentication import PROBE_TIMEOUT_S, send_token_if_any, token_missing
from actors.submission.job_request import JobRequest
from caig_rl.errors import UserError
from caig_rl.wording import duration

PENDING_NOTE_S = 30.0
"""A job that has not begun is mentioned this often."""
AGENT_LIMIT_S = 30.0
"""How long a head that has just been started may take until it takes jobs."""
_NO_AGENT = "No available agent"
STOPPED_EXIT_CODE = 75
"""The project's code for "stopped early"; with a checkpoint where a round had begun."""
MAX_RECONNECTS = 5
_PACKAGE_ERROR = re.compile(r"^\s*(?:ERROR|error)[:]\s*(.+)$", re.MULTILINE)
_UNREACHED = re.compile(r"Retrying .* after connection broken by .*: ([^:]*?)['\")]")
"""pip's word on an index that it cannot reach; it then complains that the package does not exist."""


class JobClient:
    """One cluster's job server."""

    def __init__(self, address: str) -> None:
        """Connect to the dashboard at `address`, "http://HOST:PORT".

        Raises:
            UserError: nothing answers there, or what answers is not a Ray dashboard.
        """
        self.address = address
        _probe(address)
        # Ray lets these two overrule the address it is given; the one on our command line must win.
        hidden = {name: os.environ.pop(name) for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS") if name in os.environ}
        send_token_if_any()
        try:
            self._client: Any = JobSubmissionClient(address)
        except AuthenticationError as error:
            raise token_missing(address) from error
        except (RuntimeError, ConnectionError, requests.RequestException) as error:
            raise UserError(f"{address} does not take jobs: {_first_line(error)}") from error
        finally:
            os.environ.update(hidden)

    def submit(self, request: JobRequest) -> str:
        """Upload the working directory and start the job; returns its id.

        Raises:
            UserError: the files cannot be sent, or the cluster refuses the job.
        """
        # It would list on every submission what is left out, .git among it, and say that it uploads.
        logging.getLogger("ray._private.runtime_env").setLevel(logging.ERROR)
        for module in ("dashboard_sdk", "job.sdk"):
            logging.getLogger(f"ray.dashboard.modules.{module}").setLevel(logging.WARNING)
        limit = time.monotonic() + AGENT_LIMIT_S
        while True:
            try:
                return str(
                    self._client.submit_job(entrypoint=request.entrypoint, runtime_env=request.runtime_env, metadata=dict(request.metadata))
                )
            except (RuntimeError, ValueError, requests.RequestException) as error:
                if _NO_AGENT not in str(error):
                    raise UserError(f"{self.address} refused the job: {_first_line(error)}") from error
                if time.monotonic() >= limit:
                    raise UserError(
                        f"{self.address} takes no jobs: its agent did not come up in {duration(AGENT_LIMIT_S)}. Another Ray on that "
                        "machine may hold the agent's port, 52365: end it, or start the head with --dashboard-agent-listen-port=52366"
                    ) from error
            time.sleep(1.0)

    def details(self, job_id: str) -> Any:
        """Ray's record of the job (`JobDetails`). Raises UserError where the cluster has gone or does not know the job."""
        try:
            return self._client.get_job_info(job_id)
        except (RuntimeError, requests.RequestException) as error:
            raise UserError(f"{self.address} does not answer for job {job_id}: {_first_line(error)}") from error

    def jobs(self) -> list[Any]:
        """Every job the cluster remembers, newest first."""
        try:
            return sorted(self._client.list_jobs(), key=lambda job: job.start_time or 0, reverse=True)
        except (RuntimeError, requests.RequestException) as error:
            raise UserError(f"{self.address} does not list its jobs: {_first_line(error)}") from error

    def follow(self, job_id: str, write: Callable[[str], None], note: Callable[[str], None]) -> int:
        """Pass the job's log to `write` until the job has ended; returns the exit code that the submitter ends with.

        0 done; the command's own code where it failed; 75 where somebody stopped it; 1 where it never began.
        """
        self._await_start(job_id, note)
        asyncio.run(self._follow_log(job_id, write, note))
        details = self.details(job_id)
        if details.status == JobStatus.SUCCEEDED:
            return 0
        if details.status == JobStatus.STOPPED:
            note(f"job {job_id} was stopped")
            return STOPPED_EXIT_CODE
        if details.driver_exit_code:
            return int(details.driver_exit_code)
        note(f"job {job_id} did not run: {failure_line(str(details.message or ''))}")
        return 1

    def _await_start(self, job_id: str, note: Callable[[str], None]) -> None:
        noted = started = time.monotonic()
        while (details := self.details(job_id)).status == JobStatus.PENDING:
            if time.monotonic() - noted >= PENDING_NOTE_S:
                noted = time.monotonic()
                note(f"job {job_id} has waited {duration(noted - started)} to begin: {_first_line(details.message or 'no reason given')}")
            time.sleep(0.5)

    async def _follow_log(self, job_id: str, write: Callable[[str], None], note: Callable[[str], None]) -> None:
        """Each connection sends the log from its beginning; what was written before is left out."""
        written, reconnects = 0, 0
        while True:
            seen = 0
            try:
                async for text in self._client.tail_job_logs(job_id):
                    fresh = text[max(0, written - seen) :]
                    seen += len(text)
                    if fresh:
                        write(fresh)
                        written += len(fresh)
            except (RuntimeError, aiohttp.ClientError) as error:
                reconnects += 1
                if reconnects > MAX_RECONNECTS:
                    raise UserError(f"lost the log of job {job_id}, which goes on: {_first_line(error)}") from error
            if JobStatus(self.details(job_id).status).is_terminal():
                return
            await asyncio.sleep(1.0)


def failure_line(message: str) -> str:
    """The line of Ray's long message that says why a job could not begin: the package manager's own complaint where there is one."""
    text = message.replace("\\n", "\n")
    complaints, unreached = _PACKAGE_ERROR.findall(text), _UNREACHED.findall(text)
    if complaints:
        why = f" (the nodes do not reach the package index: {unreached[-1].strip()})" if unreached else ""
        return f"a package cannot be installed on the nodes: {complaints[-1].strip()}{why}"
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "Ray gives no reason"


def _probe(address: str) -> None:
    """Ask for the version first, with a time limit, which Ray's own client does not have."""
    advice = "name the dashboard of the Ray head (port 8265 unless changed)"
    try:
        answer = requests.get(f"{address}/api/version", timeout=PROBE_TIMEOUT_S)
    except requests.ConnectionError as error:
        what = (
            "answers there, but not in HTTP"
            if "RemoteDisconnected" in repr(error) or "BadStatusLine" in repr(error)
            else "cannot be reached"
        )
        raise UserError(f"{address} {what}: {advice}, and check that the cluster is up") from error
    except requests.RequestException as error:
        raise UserError(f"{address} gave no answer in {duration(PROBE_TIMEOUT_S)}: {advice}, and check that the cluster is up") from error
    if answer.status_code in (401, 403):
        return  # a cluster with token authentication: Ray's client brings the token, or says how to
    try:
        known = answer.ok and "ray_version" in answer.json()
    except requests.JSONDecodeError:
        known = False
    if not known:
        raise UserError(f"{address} is not a Ray dashboard (/api/version answered {answer.status_code}): {advice}")


def _first_line(error: BaseException | str) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
