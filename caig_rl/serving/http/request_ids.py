"""The id of a request, which its log lines and those of the models share. Ray Serve's proxy gives each request one and tells the client."""

from __future__ import annotations

import re
import secrets

from fastapi import Request

_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id(request: Request) -> str:
    """What `X-Request-ID` says, from the proxy or the client; where that is absent or no plain id, one that is made here."""
    known: str | None = getattr(request.state, "request_id", None)
    if known is None:
        given = request.headers.get("x-request-id", "")
        known = request.state.request_id = given if _GIVEN.fullmatch(given) else secrets.token_hex(8)
    return known
