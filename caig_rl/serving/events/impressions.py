"""Impression ids: each says what was shown, to whom, where and with what probability, signed so that a client can only hand it back."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field

from caig_rl.serving.events.signing import BadSignature, Signer

_PURPOSE = "impression"


@dataclass(frozen=True, slots=True)
class Impression:
    """One creative chosen for one visitor. It was not necessarily seen: that is what an event says."""

    tenant: str
    creative_id: str
    product_id: str
    category: str
    segment: str
    position: int
    """Place on the page, 1 the first."""
    visitor: str
    """Hash of the visitor's id."""
    arm: str
    """Policy arm the visitor is assigned to."""
    arm_share: float
    """Probability with which a visitor was assigned to that arm."""
    experiment: str
    """Policy version that is being tried while this was chosen; empty: none."""
    version: str
    """Policy version that wrote the creative's prompt."""
    shelf: str
    """Hash of the creatives that it was chosen among: only what lay on one shelf was compared by chance."""
    propensity: float
    """Probability with which this creative was chosen, from its shelf."""
    time: float
    """When it was minted, seconds since 1970 UTC."""
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))


def mint(impression: Impression, signer: Signer) -> str:
    """The signed impression id."""
    return signer.sign(_PURPOSE, json.dumps(list(asdict(impression).values()), ensure_ascii=False, separators=(",", ":")))


def read_impression(impression_id: str, signer: Signer) -> Impression:
    """What was minted.

    Raises:
        BadSignature: forged, changed, or of a service with other keys.
    """
    try:
        return Impression(*json.loads(signer.verify(_PURPOSE, impression_id)))
    except (TypeError, json.JSONDecodeError) as error:
        # Signed by us, so it is from another release whose ids had other fields.
        raise BadSignature("it is from another version of this service") from error
