"""The FastAPI application: keys, the studio page, and every refusal as a problem document."""

# No `from __future__ import annotations` here: FastAPI reads the annotations, and they name locals.

import logging
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import PurePath
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from caig_rl import __version__
from caig_rl.serving.http import schemas
from caig_rl.serving.http.gate import Gate
from caig_rl.serving.http.request_ids import request_id
from caig_rl.serving.http.routes import add_making_routes, add_review_routes, add_showing_routes
from caig_rl.serving.problems import MEDIA_TYPE, Problem, wrong_field
from caig_rl.serving.service import Service

logger = logging.getLogger(__name__)

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def create_app(service: Service) -> FastAPI:
    """The application over one service."""
    app = FastAPI(title="caig-rl", version=__version__, summary="Ad creatives that people click.", docs_url=None, redoc_url=None)
    bearer = HTTPBearer(auto_error=False, description="Make a key with `caig-rl serve key TENANT`.")

    def tenant_of(request: Request, _: Annotated[Any, Depends(bearer)]) -> str:
        return service.keys.tenant_of(request.headers.get("authorization"))

    app.add_middleware(Gate, doors=service.doors)
    _add_refusals(app)
    _add_pages(app, service)
    add_making_routes(app, service, tenant_of)
    add_review_routes(app, service, tenant_of)
    add_showing_routes(app, service, tenant_of)
    document = app.openapi
    app.openapi = lambda: schemas.add_problem_schema(document())  # type: ignore[method-assign] # the way FastAPI documents
    return app


def _add_pages(app: FastAPI, service: Service) -> None:
    @app.get("/healthz")
    async def healthz() -> schemas.Health:
        """Alive, and which policy version is live."""
        routing = service.routing
        return schemas.Health(status="ok", policy_version=routing.live, candidate=routing.candidate, traffic=routing.traffic)

    for file in sorted((files("caig_rl.serving") / "studio").iterdir(), key=lambda entry: entry.name):
        path = "" if file.name == "index.html" else file.name
        app.add_api_route(f"/{path}", _page(file.read_bytes(), _KINDS[PurePath(file.name).suffix]), include_in_schema=False)


def _page(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def page() -> Response:
        return Response(content, media_type=f"{kind}; charset=utf-8", headers=_PAGE_HEADERS)

    return page


def _methods(app: FastAPI, request: Request) -> str:
    """What the address of the request takes, as in "GET, POST"; empty where there is nothing."""
    there = [route for route in app.routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in there for method in route.methods or ()}))


def _route(request: Request) -> str:
    """The route's pattern: a path may name a product, or hold an address that opens a picture."""
    return str(getattr(request.scope.get("route"), "path", ""))


def _add_refusals(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def refused(request: Request, problem: Problem) -> Response:
        facts = {"request": request_id(request), "status": problem.status, "code": problem.code, "field": problem.field}
        logger.info("refused %s %s: %s", request.method, _route(request), problem.code, extra=facts)
        return JSONResponse(problem.document(), problem.status, problem.headers(), MEDIA_TYPE)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return await refused(request, wrong_field(field, first["msg"], first["type"]))

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        allowed = _methods(app, request)
        if not allowed:
            return await refused(
                request, Problem(404, "no_route", "there is nothing at this address; GET /openapi.json lists those there are")
            )
        problem = Problem(405, "wrong_method", f"{request.method} is not taken at this address, only {allowed}")
        answer = await refused(request, problem)
        answer.headers["Allow"] = allowed
        return answer

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        facts = {"request": request_id(request)}
        logger.exception("%s %s failed", request.method, _route(request), exc_info=error, extra=facts)
        return await refused(request, Problem(500, "failed", "the service failed on this request; it is in its log"))
