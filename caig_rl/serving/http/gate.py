"""The first thing that a request meets: it is counted, or refused where the service is ending."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from caig_rl.serving.load.doors import Doors
from caig_rl.serving.problems import MEDIA_TYPE, Problem


class Gate:
    """ASGI middleware. A request is inside until the last byte of its answer is handed on, streams too."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self._app, self._doors = app, doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it with 503."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._doors.enter()
        except Problem as problem:
            await JSONResponse(problem.document(), problem.status, problem.headers(), MEDIA_TYPE)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._doors.leave()
