"""The routes of `/v1`: making creatives, reviewing them, showing them and taking what was clicked."""

# No `from __future__ import annotations` here: FastAPI reads the annotations, and they name the local `tenant_of`.

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from caig_rl.serving.choice.chooser import Place
from caig_rl.serving.creatives.uploads import MAX_ID, checked_id, checked_plain
from caig_rl.serving.events.signing import BadSignature
from caig_rl.serving.http import schemas
from caig_rl.serving.http.answers import creative_answer, ranked_answer, report_answer, streamed_answer
from caig_rl.serving.http.bodies import CreativeReader, parse_json, parse_object, read_body, validated
from caig_rl.serving.http.request_ids import request_id
from caig_rl.serving.problems import MEDIA_TYPE, TITLES, Problem, wrong_field
from caig_rl.serving.service import CreativeRequest, Service, Started

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"content": {MEDIA_TYPE: {"schema": {"$ref": schemas.PROBLEM_REFERENCE}}}, "description": title}
    for status, title in TITLES.items()
}
_EVENT_BYTES = 4 * 2**10
"""An impression id holds the client's own ids: some 400 bytes as a rule, 2,000 at the most."""
_DECISION_BYTES = 4 * 2**10


def _json_body(schema: type[BaseModel]) -> dict[str, Any]:
    """The part of the API document about a body that the route reads itself."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema.model_json_schema()}}}}


def add_making_routes(app: FastAPI, service: Service, tenant_of: Callable[..., str]) -> None:
    """`POST /v1/creatives`."""
    reader = CreativeReader(service.config)
    form = schemas.CreativeForm.model_json_schema()
    form["properties"]["candidates"] |= {"minimum": 1, "maximum": service.config.serve.limits.max_candidates}
    multipart = {**form, "properties": {**form["properties"], "image": {"type": "string", "format": "binary"}}}
    content = {"multipart/form-data": {"schema": multipart}, "application/json": {"schema": form}}

    @app.post(
        "/v1/creatives",
        response_model=schemas.Creatives,
        responses=_PROBLEMS,
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )
    async def make_creatives(request: Request, tenant: Annotated[str, Depends(tenant_of)]) -> Any:
        """Creatives for a product, the best predicted first. With `Accept: application/x-ndjson`, each as it is finished."""

        async def parsed() -> CreativeRequest:
            return await reader.read(request)

        messages = service.make(tenant, parsed, request_id(request))
        if "application/x-ndjson" not in request.headers.get("accept", ""):
            return await ranked_answer(service, messages)
        # The first message comes before the status line: a refusal still gets its own status.
        first = await anext(messages)
        assert isinstance(first, Started)
        return StreamingResponse(streamed_answer(service, first, messages, request_id(request)), media_type="application/x-ndjson")


def add_review_routes(app: FastAPI, service: Service, tenant_of: Callable[..., str]) -> None:
    """What a person does with creatives: list, decide, see how they do."""

    @app.get("/v1/creatives", response_model=schemas.CreativeList, responses=_PROBLEMS)
    def list_creatives(
        tenant: Annotated[str, Depends(tenant_of)],
        status: Literal["pending", "approved", "rejected", "refused"] | None = None,
        product_id: Annotated[str | None, Query(max_length=MAX_ID)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Any:
        """Your creatives, the newest first. `status=pending` is the approval queue."""
        shelf = service.store.all(tenant) if product_id is None else iter(service.store.of_product(tenant, product_id))
        found = [one for one in shelf if status is None or one.status == status]
        found.sort(key=lambda one: (-one.creative.created, one.creative.creative_id))
        return schemas.CreativeList(creatives=[creative_answer(service, one) for one in found[:limit]], total=len(found))

    @app.get("/v1/creatives/{creative_id}", response_model=schemas.Creative, responses=_PROBLEMS)
    def one_creative(creative_id: str, tenant: Annotated[str, Depends(tenant_of)]) -> Any:
        """One creative and all that is needed to make it again."""
        return creative_answer(service, service.store.get(tenant, creative_id))

    @app.post(
        "/v1/creatives/{creative_id}/decision",
        response_model=schemas.Creative,
        responses=_PROBLEMS,
        openapi_extra=_json_body(schemas.Decision),
    )
    async def decide(request: Request, creative_id: str, tenant: Annotated[str, Depends(tenant_of)]) -> Any:
        """Approve or reject a creative. Nothing is shown before it is approved; the last decision counts."""
        # Read here and not by FastAPI, which would read all of it before it asks for the key.
        decision = validated(schemas.Decision, parse_object(await read_body(request, _DECISION_BYTES)))
        shelved = await asyncio.to_thread(service.decide, tenant, creative_id, decision.approved, decision.by)
        return creative_answer(service, shelved)

    @app.get("/v1/report", response_model=schemas.Report, responses=_PROBLEMS)
    def report(tenant: Annotated[str, Depends(tenant_of)]) -> Any:
        """CTR of the creatives that run."""
        return report_answer(service, tenant)

    @app.get("/v1/images/{token}", response_class=Response, responses={200: {"content": {"image/png": {}}}, **_PROBLEMS})
    def image(token: str) -> Response:
        """A creative's picture, by the address that an answer gave."""
        try:
            tenant, _, creative_id = service.signer.verify("image", token).partition("/")
        except BadSignature as error:
            raise Problem(404, "unknown_image", "token: there is no picture at this address", "token") from error
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
        return Response(service.store.image(tenant, creative_id), media_type="image/png", headers=headers)


def add_showing_routes(app: FastAPI, service: Service, tenant_of: Callable[..., str]) -> None:
    """What a shop does: ask for a creative, and report what was seen and clicked."""

    @app.get("/v1/products/{product_id:path}/creative", response_model=schemas.Chosen, responses=_PROBLEMS)
    def choose(
        product_id: str,
        tenant: Annotated[str, Depends(tenant_of)],
        visitor: Annotated[str, Query(min_length=1, max_length=MAX_ID, description="Your id of the visitor; it decides the policy arm.")],
        segment: Annotated[str, Query(max_length=64)] = "",
        position: Annotated[int, Query(ge=1, le=1000, description="Place on the page, 1 the first.")] = 1,
    ) -> Any:
        """The creative to show to this visitor now, with a signed impression id to hand back with the events."""
        place = Place(tenant, checked_id("product_id", product_id), checked_plain("segment", segment), visitor, position)
        creative, impression_id, propensity = service.choose(place)
        return schemas.Chosen(
            creative_id=creative.creative_id,
            product_id=creative.product_id,
            image_url=f"/v1/images/{service.image_token(creative)}",
            impression_id=impression_id,
            propensity=propensity,
            policy_version=creative.version,
        )

    @app.post("/v1/events", response_model=schemas.EventResults, responses=_PROBLEMS, openapi_extra=_json_body(schemas.Events))
    async def take_events(request: Request, tenant: Annotated[str, Depends(tenant_of)]) -> Any:
        """Impressions and clicks. Answered item by item, once the accepted ones are on disk; sending an item again changes nothing."""
        most = service.config.serve.limits.max_events
        # In a thread: a batch at the limit takes longer to parse than a refusal of another request may wait.
        advice = f"; serve.limits.max_events ({most}) bounds their number"
        content = await asyncio.to_thread(parse_json, await read_body(request, (most + 1) * _EVENT_BYTES, "events", advice))
        for name in content if isinstance(content, dict) else ():
            if name != "events":
                raise wrong_field(name[:80], "there is no such field beside events", "unknown_field")
        items = content.get("events") if isinstance(content, dict) else None
        if not isinstance(items, list):
            raise wrong_field("events", "send a list of objects with impression_id and kind")
        if len(items) > most:
            raise wrong_field("events", f"{len(items)} items; at most {most} are taken at once", "too_many")
        verdicts = await service.take_events(tenant, items, request_id(request))
        results = [
            schemas.EventResult(status="refused" if one.event is None else "accepted", code=one.code, detail=one.detail, field=one.field)
            for one in verdicts
        ]
        accepted = sum(one.event is not None for one in verdicts)
        return schemas.EventResults(accepted=accepted, refused=len(results) - accepted, results=results)
