"""Reads a request for creatives: multipart or JSON, never more of it than the limits allow."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from caig_rl.config.schema import Config
from caig_rl.serving.creatives.uploads import (
    MAX_CATEGORY,
    MAX_DESCRIPTION,
    MAX_TITLE,
    checked_count,
    checked_cutout,
    checked_id,
    checked_text,
)
from caig_rl.serving.http.schemas import CreativeForm
from caig_rl.serving.problems import Problem, wrong_field
from caig_rl.serving.service import CreativeRequest
from caig_rl.types import Product

DECODED_AT_ONCE = 2
_TEXT_BYTES = 64 * 2**10
_MIB = 2**20
_LENGTH_DIGITS = 15
"""More digits in a Content-Length are too much whatever they say; Python itself refuses to read thousands."""
_FIELDS = len(CreativeForm.model_fields)
Form = TypeVar("Form", bound=BaseModel)


class CreativeReader:
    """Reads and checks requests for creatives."""

    def __init__(self, config: Config) -> None:
        self._config = config
        # A picture at the limit takes hundreds of megabytes while it is decoded: few at a time, and in nobody else's threads.
        self._threads = ThreadPoolExecutor(DECODED_AT_ONCE, thread_name_prefix="pictures")

    async def read(self, request: Request) -> CreativeRequest:
        """The checked request. Raises Problem naming the field at fault."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        image_bytes = int(self._config.serve.limits.max_image_mib * _MIB)
        advice = "; serve.limits.max_image_mib bounds the picture"
        if kind == "multipart/form-data":
            form, image = await _multipart(request, await read_body(request, image_bytes + _TEXT_BYTES, "image", advice))
            return await self._in_thread(lambda: _checked(form, image, self._config))
        if kind == "application/json":
            body = await read_body(request, image_bytes * 4 // 3 + _TEXT_BYTES, "image", advice)
            return await self._in_thread(lambda: _checked(*_json(body), self._config))
        raise Problem(415, "wrong_content_type", "Content-Type: send multipart/form-data or application/json", "Content-Type")

    async def _in_thread(self, work: Callable[[], CreativeRequest]) -> CreativeRequest:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


async def read_body(request: Request, limit: int, field: str | None = None, advice: str = "") -> bytes:
    """The whole body. Raises Problem (413) as soon as it is longer than `limit` bytes.

    `field`: what makes it large; `advice`: which setting allows more.
    """
    said = request.headers.get("content-length", "0")
    if not said.isascii() or not said.isdigit() or len(said) > _LENGTH_DIGITS or int(said) > limit:
        raise _too_large(limit, field, advice)
    parts, size = [], 0
    async for chunk in request.stream():
        parts.append(chunk)
        size += len(chunk)
        if size > limit:
            raise _too_large(limit, field, advice)
    return b"".join(parts)


def _too_large(limit: int, field: str | None, advice: str) -> Problem:
    size = f"{limit / _MIB:.3g} MiB" if limit >= _MIB else f"{limit / 2**10:.3g} KiB"
    detail = f"the request holds more than {size}{advice}"
    return Problem(413, "body_too_large", detail if field is None else f"{field}: {detail}", field)


def parse_json(body: bytes) -> Any:
    """The body as JSON. Raises Problem (400)."""
    try:
        return json.loads(body)
    except RecursionError as error:
        raise Problem(400, "no_json", "the body is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise Problem(400, "no_json", f"the body is no JSON ({error})"[:300]) from error
    except UnicodeDecodeError as error:
        raise Problem(400, "no_json", "the body is no JSON: it is not in UTF-8") from error
    except ValueError as error:  # Python refuses to read whole numbers of thousands of digits
        raise Problem(400, "no_json", "the body holds a number with too many digits") from error


def parse_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object. Raises Problem (400)."""
    values = parse_json(body)
    if not isinstance(values, dict):
        raise Problem(400, "no_object", "the body is no JSON object")
    return values


def validated(form: type[Form], values: Mapping[str, Any]) -> Form:
    """The form with its types checked. Raises Problem (422) naming the first wrong field."""
    try:
        return form.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise wrong_field(".".join(str(part) for part in first["loc"]), first["msg"], first["type"]) from error


async def _multipart(request: Request, body: bytes) -> tuple[CreativeForm, bytes]:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, whole(), max_files=_FIELDS, max_fields=2 * _FIELDS, max_part_size=_TEXT_BYTES)
    parser.spool_max_size = len(body) + 1  # in memory: the limit on the body holds already
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise Problem(400, "no_multipart", f"the body is no multipart form ({error})"[:300]) from error
    try:
        for name, value in form.items():
            if len(form.getlist(name)) > 1:
                raise wrong_field(name[:80], "was sent more than once", "repeated")
            if isinstance(value, UploadFile) and name != "image":
                raise wrong_field(name[:80], "no file is taken here", "wrong_value")
        file = form.get("image")
        if not isinstance(file, UploadFile):
            raise wrong_field("image", "attach the picture as a file", "missing")
        texts = {name: value for name, value in form.items() if isinstance(value, str)}
        return validated(CreativeForm, {**texts, "image": ""}), await file.read()
    finally:
        await form.close()


def _json(body: bytes) -> tuple[CreativeForm, bytes]:
    form = validated(CreativeForm, parse_object(body))
    try:
        return form, base64.b64decode(form.image.rpartition(",")[2] if form.image.startswith("data:") else form.image, validate=True)
    except (binascii.Error, ValueError) as error:
        raise wrong_field("image", f"is no base64 ({error})") from error


def _checked(form: CreativeForm, image: bytes, config: Config) -> CreativeRequest:
    candidates = checked_count("candidates", form.candidates, config.serve.limits.max_candidates)
    product = Product(
        product_id=checked_id("product_id", form.product_id) if form.product_id else f"p-{hashlib.sha256(image).hexdigest()[:16]}",
        title=checked_text("title", form.title, MAX_TITLE, required=True),
        category=checked_text("category", form.category, MAX_CATEGORY) or "unknown",
        description=checked_text("description", form.description, MAX_DESCRIPTION),
        source="upload",
    )
    seed = secrets.randbelow(2**31) if form.seed is None else form.seed
    return CreativeRequest(product, checked_cutout(image, config), candidates, seed, form.arm)
