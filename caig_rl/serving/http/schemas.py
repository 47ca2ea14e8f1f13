"""What goes over the wire: the models behind the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from caig_rl.serving.creatives.uploads import MAX_CATEGORY, MAX_DESCRIPTION, MAX_ID, MAX_TITLE


class CreativeForm(BaseModel):
    """A request for creatives. As multipart form, `image` is the file; as JSON, it is the file in base64."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    image: str
    """PNG, JPEG or WebP: a cut-out with alpha, or a photo on a plain ground."""
    title: str = Field(json_schema_extra={"minLength": 1, "maxLength": MAX_TITLE})
    """The product in a few words."""
    category: str = Field("", json_schema_extra={"maxLength": MAX_CATEGORY})
    description: str = Field("", json_schema_extra={"maxLength": MAX_DESCRIPTION})
    product_id: str = Field("", json_schema_extra={"maxLength": MAX_ID})
    """Your id of the product. Left out: one is made from the image."""
    candidates: int = 4
    """How many creatives."""
    seed: int | None = Field(None, ge=0, lt=2**31)
    """The same seed, policy version and product give the same creatives."""
    arm: Literal["live", "candidate"] = "live"
    """Whose creatives: of the live policy version, or of the one that is being tried."""


class Creative(BaseModel):
    """One creative."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    creative_id: str
    product_id: str
    title: str
    category: str
    status: str
    """pending, approved, rejected (by a person) or refused (by a rule)."""
    objection: str
    """Which rule refused it; empty where none did."""
    image_url: str
    """PNG; opens without a key."""
    prompt: str
    predicted_ctr: float
    """Fraction of impressions, by the reward model."""
    score: float
    """The same in log-odds, without the product's own level."""
    policy_version: str
    seed: int
    candidate: int
    models: str
    """Hash of the renderer's and the reward model's settings and weights."""
    created: float
    """Seconds since 1970 UTC."""


class LeftOut(BaseModel):
    """A candidate that cannot be shown."""

    candidate: int
    prompt: str
    reason: str


class Creatives(BaseModel):
    """The answer to a request for creatives, the best first."""

    product_id: str
    policy_version: str
    seed: int
    creatives: list[Creative]
    left_out: list[LeftOut]


class CreativeList(BaseModel):
    """Creatives, the newest first."""

    creatives: list[Creative]
    total: int


class Decision(BaseModel):
    """A person's decision about a creative."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    approved: bool
    by: str = Field("", max_length=80)
    """Who decides, for the record."""


class Chosen(BaseModel):
    """The creative to show."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    creative_id: str
    product_id: str
    image_url: str
    impression_id: str
    """Hand it back with the events; it says what was shown to whom, and is signed."""
    propensity: float
    """Probability with which this creative was chosen."""
    policy_version: str


class Events(BaseModel):
    """A batch of impressions and clicks. Items are checked one by one, so that one bad item does not cost the others."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    events: list[Any]
    """Objects with `impression_id`, `kind` ("impression" or "click") and, where known, `time` (seconds since 1970 UTC); nothing else."""


class EventResult(BaseModel):
    """What became of one item."""

    status: Literal["accepted", "refused"]
    code: str = ""
    detail: str = ""
    field: str = ""


class EventResults(BaseModel):
    """One result an item, in order. Accepted ones are on disk."""

    accepted: int
    refused: int
    results: list[EventResult]


class ReportRow(BaseModel):
    """How one creative does."""

    creative: Creative
    impressions: int
    clicks: int
    ctr: float | None
    low: float | None
    """95 % Wilson interval of the CTR."""
    high: float | None


class Report(BaseModel):
    """Running creatives, the most shown first."""

    rows: list[ReportRow]
    live: str
    candidate: str | None
    traffic: float


class Health(BaseModel):
    """The service is up."""

    status: str
    policy_version: str
    candidate: str | None
    traffic: float


class ProblemDocument(BaseModel):
    """RFC 9457."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None
    """The request's field at fault."""
    seed: int | None = None
    """Where none of the candidates can be shown: the seed that they were made with."""
    left_out: list[LeftOut] | None = None
    """And why each of them was left out."""


PROBLEM_REFERENCE = "#/components/schemas/ProblemDocument"


def add_problem_schema(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with what `PROBLEM_REFERENCE` names: FastAPI would offer it as application/json."""
    schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs")
    document["components"]["schemas"]["ProblemDocument"] = schema
    return document
