"""Impressions and clicks as clients report them: each item of a batch is answered by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from caig_rl.serving.events.impressions import Impression, read_impression
from caig_rl.serving.events.signing import BadSignature, Signer
from caig_rl.serving.problems import plain

EventKind = Literal["impression", "click"]
_KINDS: dict[Any, EventKind] = {"impression": "impression", "click": "click"}
FIELDS = ("impression_id", "kind", "time")
"""Of an event; the last may be left out."""
CLOCK_SKEW_S = 120.0
"""How far a client's clock may be off."""


@dataclass(frozen=True, slots=True)
class Event:
    """One accepted event."""

    kind: EventKind
    impression: Impression
    time: float
    """When it happened, seconds since 1970 UTC, by the client's clock (by ours where it sent none)."""

    @property
    def key(self) -> str:
        """Two events with one key are one event."""
        return f"{self.impression.nonce}/{self.kind}"

    def to_json(self) -> str:
        """One line of the log, without line break."""
        return json.dumps({**asdict(self.impression), "at": self.impression.time, "kind": self.kind, "time": self.time})

    @classmethod
    def from_json(cls, line: str) -> Event:
        """What `to_json` wrote."""
        content = json.loads(line)
        time, content["time"] = content["time"], content.pop("at")
        return cls(content.pop("kind"), Impression(**content), time)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one item."""

    event: Event | None
    """None: refused."""
    code: str = ""
    """Why it was refused, short and stable."""
    detail: str = ""
    field: str = ""
    """The item's field at fault; "events.INDEX" where the item is no object."""


def judge_events(items: Sequence[Any], tenant: str, signer: Signer, now: float) -> list[Verdict]:
    """Accept or refuse each item, in order. A late click is accepted however late; the same event twice is no fault.

    Args:
        items: objects with `impression_id`, `kind` and, where the client knows it, `time` (seconds since 1970 UTC). Nothing else: a field
            that we do not know would say something of the event that is not counted.
        tenant: who asks; an impression of another tenant is refused like a forged one.
        signer: the service's.
        now: the service's clock.
    """
    return [_judge(index, item, tenant, signer, now) for index, item in enumerate(items)]


def _judge(index: int, item: Any, tenant: str, signer: Signer, now: float) -> Verdict:
    if not isinstance(item, dict):
        return _refused("no_object", f"events.{index}", "is no object with impression_id and kind")
    for name in item:
        if name not in FIELDS:
            return _refused(
                "unknown_field", plain(name)[:80], f"an event has no such field, only {', '.join(FIELDS)}; one item is one event"
            )
    for name in FIELDS[:2]:
        if item.get(name) is None:
            return _refused("missing", name, "must be given")
    given, time = item["kind"], item.get("time")
    kind = _KINDS.get(given) if isinstance(given, str) else None
    if kind is None:
        return _refused("wrong_kind", "kind", f"{given!r} is neither 'impression' nor 'click'"[:200])
    if time is not None and (isinstance(time, bool) or not isinstance(time, int | float) or not 0.0 <= time <= 1e11):
        return _refused("wrong_time", "time", "give seconds since 1970 UTC as a number, or leave it out")
    impression_id = item["impression_id"]
    try:
        impression = read_impression(impression_id if isinstance(impression_id, str) else "", signer)
    except BadSignature as error:
        return _refused("bad_signature", "impression_id", str(error))
    if impression.tenant != tenant:
        return _refused("bad_signature", "impression_id", "it was not signed by this service for you")
    happened = now if time is None else float(time)
    if happened > now + CLOCK_SKEW_S:
        return _refused("from_the_future", "time", f"{happened - now:.0f} s ahead of the service's clock")
    if happened < impression.time - CLOCK_SKEW_S:
        return _refused("before_its_impression", "time", f"{impression.time - happened:.0f} s before the creative was chosen")
    return Verdict(Event(kind, impression, happened))


def _refused(code: str, field: str, detail: str) -> Verdict:
    return Verdict(None, code, f"{field}: {detail}", field)
