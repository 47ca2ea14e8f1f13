"""The `serve` section: how creatives are made on demand, chosen, and counted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from caig_rl.config.section import FilePath, Section, Share


class ServeLimits(Section):
    """What one request may ask for, and how many may wait."""

    max_image_mib: float = Field(12.0, gt=0.0)
    """Largest uploaded image file, in MiB."""
    max_pixels: int = Field(24_000_000, ge=1)
    """A larger image is refused by its header, before it is decoded."""
    max_candidates: int = Field(8, ge=1)
    """Creatives per request."""
    max_events: int = Field(1000, ge=1)
    """Impressions and clicks per request."""
    max_concurrent: int = Field(16, ge=1)
    """Requests for creatives that one ingress replica works on at a time; the next is answered 503 at once."""
    max_concurrent_per_tenant: int = Field(12, ge=1)
    """The same for one tenant, answered 429: one customer's burst leaves room for the others."""
    request_timeout_s: float = Field(30.0, gt=0.0)
    """A request for creatives that takes longer is answered 504."""
    stall_timeout_s: float = Field(60.0, gt=0.0)
    """A model replica whose batch runs longer than this is unhealthy, and Serve replaces it."""


class ServeReplicas(Section):
    """Replicas of each deployment; Serve scales between the two by the requests that wait."""

    min_ingress: int = Field(1, ge=1)
    max_ingress: int = Field(1, ge=1)
    min_models: int = Field(1, ge=1)
    """Of each of policy, renderer and scorer."""
    max_models: int = Field(1, ge=1)


class ServeChoice(Section):
    """How a creative is chosen for a visitor: Thompson sampling from the predicted CTR on."""

    prior_impressions: float = Field(600.0, gt=0.0)
    """What the predicted CTR counts for, in impressions."""
    exploration: Share = 0.05
    """Share of impressions that is spread evenly over the approved creatives, whatever the clicks say."""
    refresh_s: float = Field(1.0, gt=0.0)
    """How old the counts behind a choice may be."""


class ServeConfig(Section):
    """The service: creatives on demand, the studio page, and the clicks that flow back."""

    root: FilePath = "serving"
    """Folder on storage that every node shares (a file system, not an object store: events are synced to it before they are
    acknowledged)."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in."""
    port: int = Field(8000, ge=1, le=65535)
    approval: Literal["manual", "rules"] = "manual"
    """"manual": a person approves each creative before it is shown. "rules": what the rules let pass is approved at once."""
    banned_words: str = ""
    """Words, separated by commas, that no shown creative's prompt may hold."""
    brand_rules: dict[str, str] = Field(default_factory=dict)
    """Words banned beside a tenant's products: {"acme": "neon, rival", "acme/shoes": "snow"} (tenant, or tenant/category)."""
    promotion_products: int = Field(24, ge=2)
    """Held-out products on which a new policy version is compared with the live one before it goes live."""
    promotion_margin: float = Field(0.02, ge=0.0)
    """How much worse (mean reward, log-odds) a new version may look on them."""
    limits: ServeLimits = ServeLimits()
    replicas: ServeReplicas = ServeReplicas()
    choice: ServeChoice = ServeChoice()
