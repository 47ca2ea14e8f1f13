"""The end of a service on a real Ray cluster, with tiny random models: what is under way is finished, what comes is told to come back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from actors.serve.lifecycle import Stopped, serving
from caig_rl.config.schema import Config
from caig_rl.learning.engine import free_port
from caig_rl.serving.keys import KeyRing
from tests.serving.http.test_app import photo

pytestmark = pytest.mark.slow


def test_requests_under_way_are_finished_new_ones_get_a_503_and_a_start_that_is_stopped_says_so(
    cluster: None, tiny_config: Config, tmp_path: Path
):
    limits = {"max_candidates": 32, "request_timeout_s": 120}
    section = {"root": str(tmp_path), "port": free_port(), "limits": limits}
    config = Config.model_validate({**tiny_config.model_dump(mode="json"), "serve": section})
    address = f"http://127.0.0.1:{config.serve.port}"
    headers = {"Authorization": f"Bearer {KeyRing(tmp_path).add('acme')}", "Accept": "application/x-ndjson"}
    streams: list[list[str]] = [[], []]
    others: list[httpx.Response] = []
    over = threading.Event()

    def order(lines: list[str]) -> None:
        data = {"title": "red mug", "candidates": "32"}
        with httpx.stream("POST", f"{address}/v1/creatives", data=data, files={"image": photo()}, headers=headers, timeout=180) as answer:
            lines.extend(json.loads(line)["type"] for line in _noting(answer, lines))

    def _noting(answer: httpx.Response, lines: list[str]) -> list[str]:
        rest = answer.iter_lines()
        begun.append(json.loads(next(rest))["type"])
        return list(rest)

    def look() -> None:
        while not over.is_set():
            try:
                others.append(httpx.get(f"{address}/healthz", timeout=30))
            except httpx.TransportError:  # the proxy is gone: the end of the end
                return
            time.sleep(0.05)

    begun: list[str] = []
    threads = [threading.Thread(target=order, args=(lines,)) for lines in streams]
    threads.append(threading.Thread(target=look))
    with serving(config):
        for thread in threads:
            thread.start()
        _until(lambda: begun == ["start", "start"])
        assert streams == [[], []], "the requests were over too soon for this test"
    over.set()
    for thread in threads:
        thread.join(60)
    for lines in streams:
        assert lines[-1] == "end" and len(lines) == 33, lines
    assert {answer.status_code for answer in others} == {200, 503}
    assert [answer.status_code for answer in others] == sorted(answer.status_code for answer in others)
    assert int(others[-1].headers["Retry-After"]) >= 1 and others[-1].json()["code"] == "stopping"

    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped), serving(config, stop):
        raise AssertionError("it was told to stop before it was up")


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
