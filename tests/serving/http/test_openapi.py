"""The OpenAPI document against the service behind it: schemathesis sends what the document allows, and what it does not."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from caig_rl.serving.problems import MEDIA_TYPE
from tests.serving.http.test_app import World

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
WITHOUT_INPUT = {"GET /healthz", "GET /v1/images/{token}"}
"""The document knows no wrong way to ask for these: they take no key, and any text may be a token."""
EXAMPLES = 20
"""Of each operation, for each of two ways."""
SEARCH = settings(
    max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service with a product on its shelf."""
    world = World(tmp_path_factory.mktemp("openapi"), approval="rules")
    assert world.make(product_id="p").status_code == 200
    yield world


def operations(world: World) -> dict[str, APIOperation]:
    schema = schemathesis.openapi.from_asgi("/openapi.json", world.client.app)
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.label: operation for operation in found}


def test_every_operation_is_in_the_document(world: World):
    assert sorted(operations(world)) == [
        "GET /healthz", "GET /v1/creatives", "GET /v1/creatives/{creative_id}", "GET /v1/images/{token}",
        "GET /v1/products/{product_id}/creative", "GET /v1/report", "POST /v1/creatives", "POST /v1/creatives/{creative_id}/decision",
        "POST /v1/events",
    ]  # fmt: skip


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_the_document_allows_or_not_is_answered_as_it_says_and_never_with_a_5xx(world: World, mode: GenerationMode):
    headers, statuses = {"Authorization": world.client.headers["Authorization"]}, set()
    for label, operation in operations(world).items():
        if mode is GenerationMode.NEGATIVE and label in WITHOUT_INPUT:
            continue

        @SEARCH
        @given(case=operation.as_strategy(generation_mode=mode))
        def answered(case: schemathesis.Case) -> None:
            answer = case.call(headers=headers)
            statuses.add(answer.status_code)
            case.validate_response(answer, checks=CHECKS)

        answered()
    assert statuses & {404, 415, 422}, statuses
    assert 200 in statuses or mode is GenerationMode.NEGATIVE, statuses


def test_the_document_offers_refusals_as_problem_documents_and_says_what_the_fields_may_hold(world: World):
    document = world.client.get("/openapi.json").json()
    answers = [answer for path in document["paths"].values() for one in path.values() for answer in one["responses"].items()]
    refused = [answer["content"] for status, answer in answers if status >= "4"]
    assert len(refused) > 50
    assert all(content == {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}} for content in refused)
    assert {"code", "detail", "field", "seed", "left_out"} <= set(document["components"]["schemas"]["ProblemDocument"]["properties"])
    for content in document["paths"]["/v1/creatives"]["post"]["requestBody"]["content"].values():
        fields = content["schema"]["properties"]
        assert (fields["candidates"]["minimum"], fields["candidates"]["maximum"]) == (1, 4)
        assert (fields["title"]["minLength"], fields["title"]["maxLength"], fields["product_id"]["maxLength"]) == (1, 300, 128)
