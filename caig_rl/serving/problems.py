"""Refusals as problem documents (RFC 9457): what is wrong, with which field, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "The request cannot be read",
    401: "The API key is missing or wrong",
    404: "There is no such thing",
    405: "This address does not take that method",
    409: "That is not possible now",
    413: "The request is too large",
    415: "This is a format that cannot be read",
    422: "The request cannot be carried out as it is",
    429: "You have too many requests under way",
    500: "The service failed",
    502: "A model failed",
    503: "The service is busy",
    504: "The request took too long",
}


class Problem(Exception):
    """A request that is refused."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        field: str | None = None,
        retry_after: int | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """`status`: HTTP status; `code`: a stable short name; `field`: the request's field at fault; `retry_after`: seconds to wait;
        `facts`: more members of the document."""
        super().__init__(detail)
        self.status, self.code, self.detail, self.retry_after, self.facts = status, code, plain(detail), retry_after, facts or {}
        self.field = None if field is None else plain(field)

    def document(self) -> dict[str, Any]:
        """The problem document."""
        content: dict[str, Any] = {
            "type": f"urn:caig-rl:problem:{self.code}",
            "title": TITLES[self.status],
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.field is not None:
            content["field"] = self.field
        return {**content, **self.facts}

    def headers(self) -> dict[str, str]:
        """Headers that go with it."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def plain(text: str) -> str:
    """`text` with lone surrogates replaced: JSON can bring them in, and no answer could be sent with them."""
    return text.encode("utf-8", "replace").decode()


def wrong_field(field: str, detail: str, code: str = "wrong_value") -> Problem:
    """422 for one field."""
    return Problem(422, code, f"{field}: {detail}", field)
