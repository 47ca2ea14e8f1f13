"""A local HTTP server that answers like an OpenAI-compatible endpoint, or misbehaves as told."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

Reply = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


def says(text: str) -> Reply:
    body = {"choices": [{"message": {"role": "assistant", "content": text}}], "usage": {"prompt_tokens": 1000, "completion_tokens": 2}}
    return 200, {}, json.dumps(body).encode()


def picture_of(request: dict[str, Any]) -> np.ndarray:
    (url,) = [part["image_url"]["url"] for part in request["messages"][0]["content"] if part["type"] == "image_url"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def brighter_side(request: dict[str, Any]) -> Reply:
    left, right = np.split(picture_of(request), 2, axis=1)
    return says("Left." if left.mean() > right.mean() else "The RIGHT one")


class FakeEndpoint:
    """`url`, the requests it got with their Authorization header, and `answer`, which may be changed at any time."""

    def __init__(self, answer: Callable[[dict[str, Any]], Reply]) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.url = ""


@contextmanager
def serve(answer: Callable[[dict[str, Any]], Reply]) -> Iterator[FakeEndpoint]:
    endpoint = FakeEndpoint(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            endpoint.requests.append(request)
            endpoint.keys.append(self.headers.get("Authorization"))
            status, headers, body = endpoint.answer(request) if self.path == "/v1/chat/completions" else (404, {}, b"")
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a test says what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
