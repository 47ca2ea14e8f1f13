"""The service itself: every operation that the HTTP surface offers, without HTTP and without the cluster."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caig_rl.config.schema import Config
from caig_rl.serving.choice.arms import Routing
from caig_rl.serving.choice.chooser import Chooser, Place
from caig_rl.serving.creatives.maker_interface import CreativeMaker, Made, Order
from caig_rl.serving.creatives.rules import Rules
from caig_rl.serving.creatives.store import CreativeStore, Shelved, StoredCreative
from caig_rl.serving.events.click_counts import ClickCounts
from caig_rl.serving.events.event_log import EventLog
from caig_rl.serving.events.group_commit import GroupCommit
from caig_rl.serving.events.impressions import mint
from caig_rl.serving.events.reported_events import Verdict, judge_events
from caig_rl.serving.events.signing import Signer
from caig_rl.serving.keys import KeyRing
from caig_rl.serving.load.doors import Doors
from caig_rl.serving.load.slots import Slots
from caig_rl.serving.problems import Problem
from caig_rl.types import Cutout, Product

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CreativeRequest:
    """A request for creatives, checked."""

    product: Product
    cutout: Cutout
    candidates: int
    seed: int
    arm: str


@dataclass(frozen=True, slots=True)
class Started:
    """The first message of an answer."""

    request: CreativeRequest
    version: str


class Service:
    """One replica's service over storage that all replicas share."""

    def __init__(self, config: Config, maker: CreativeMaker, routing: Routing, clock: Callable[[], float] = time.time) -> None:
        """`routing`: which policy versions are live; `set_routing` changes it later. `clock`: seconds since 1970 UTC."""
        root = Path(config.serve.root)
        self.config, self.routing = config, routing
        self._maker, self._clock = maker, clock
        self.keys, self.signer, self.store, self.click_counts = KeyRing(root), Signer(root), CreativeStore(root), ClickCounts(root)
        self.chooser = Chooser(self.store, self.click_counts, config.serve.choice, clock)
        self.chooser.refresh()
        self._rules = Rules(config.serve)
        self._events = GroupCommit(EventLog(root))
        limits = config.serve.limits
        self.doors = Doors()
        self._slots = Slots(limits.max_concurrent, limits.max_concurrent_per_tenant, time.monotonic)

    def set_routing(self, routing: Routing) -> None:
        """Requests that start from now on follow `routing`; those under way end as they began."""
        if routing != self.routing:
            facts = {"policy_version": routing.live, "candidate": routing.candidate, "traffic": routing.traffic}
            logger.info("requests follow %s from now on", routing.live, extra=facts)
        self.routing = routing

    async def make(
        self, tenant: str, request: Callable[[], Awaitable[CreativeRequest]], request_id: str = ""
    ) -> AsyncIterator[Started | Shelved | Made]:
        """Creatives for one product: first `Started`, then each candidate as it is finished, kept (`Shelved`) or left out (`Made`).

        `request` reads and checks the request; it is called only when there is a place for it. `request_id` is for the log.

        Raises:
            Problem: 429 and 503 where there is no place, 504 after `request_timeout_s`, and whatever `request` and the models raise.
        """
        started = time.monotonic()
        deadline = started + self.config.serve.limits.request_timeout_s
        with self._slots.place(tenant):
            asked = await _before(deadline, request())
            # Read once: a promotion in the middle of an answer changes nothing in it.
            version = self._version(asked.arm)
            yield Started(asked, version)
            cutout = await asyncio.to_thread(self.store.save_cutout, tenant, asked.product, asked.cutout)
            making = self._maker.make(Order(asked.product, asked.cutout, asked.candidates, asked.seed, version, request_id))
            kept: list[str] = []
            while (made := await _before(deadline, anext(making, None))) is not None:
                if made.left_out:
                    yield made
                    continue
                shelved = await asyncio.to_thread(self._keep, tenant, asked, made, version, cutout)
                kept.append(shelved.creative.creative_id)
                yield shelved
            seconds = time.monotonic() - started
            facts = {"request": request_id, "tenant": tenant, "policy_version": version, "seed": asked.seed, "creatives": kept}
            logger.info("made %d of %d creatives in %.2f s", len(kept), asked.candidates, seconds, extra=facts)

    async def take_events(self, tenant: str, items: Sequence[Any], request_id: str = "") -> list[Verdict]:
        """Answer each item; when this returns, every accepted one is durable. `request_id` is for the log.

        Raises:
            Problem: 503 where they could not be made durable: nothing is acknowledged, and the client may send all again.
        """
        # A full batch is some 20 ms of signatures: time in which the event loop could not refuse anybody.
        verdicts = await asyncio.to_thread(judge_events, items, tenant, self.signer, self._clock())
        try:
            await self._events.append([verdict.event for verdict in verdicts if verdict.event is not None])
        except OSError as error:
            raise Problem(503, "not_durable", f"the events could not be kept ({error.strerror}); send them again", retry_after=5) from error
        refused = Counter(verdict.code for verdict in verdicts if verdict.event is None)
        facts = {"request": request_id, "tenant": tenant, "accepted": len(verdicts) - refused.total(), "refused": dict(refused)}
        logger.info("took %d events", facts["accepted"], extra=facts)
        return verdicts

    def choose(self, place: Place) -> tuple[StoredCreative, str, float]:
        """The creative for a visitor, a signed impression id, and the probability of this choice. Raises Problem as `Chooser.choose`."""
        chosen, impression = self.chooser.choose(place, self.routing, np.random.default_rng())
        # One line an impression is much; what was seen is in the event log in any case.
        facts = {"tenant": place.tenant, "creative": chosen.creative_id, "arm": impression.arm, "policy_version": chosen.version}
        logger.debug("chose for impression %s", impression.nonce, extra={"impression": impression.nonce, **facts})
        return chosen, mint(impression, self.signer), impression.propensity

    def decide(self, tenant: str, creative_id: str, approved: bool, by: str) -> Shelved:
        """A person's decision. Raises Problem as `CreativeStore.decide`; 409 also where a rule that came later objects."""
        creative = self.store.get(tenant, creative_id).creative
        if approved and (objection := self._rules.objection(tenant, creative.category, creative.prompt)):
            raise Problem(409, "refused_by_rule", f"creative_id: {objection}; no person can approve it", "creative_id")
        shelved = self.store.decide(tenant, creative_id, "approved" if approved else "rejected", by)
        logger.info("%s creative %s", shelved.status, creative_id, extra={"tenant": tenant, "creative": creative_id})
        return shelved

    def image_token(self, creative: StoredCreative) -> str:
        """Opens the picture without a key: shops put it into their pages."""
        return self.signer.sign("image", f"{creative.tenant}/{creative.creative_id}")

    def _version(self, arm: str) -> str:
        try:
            return self.routing.version(arm)
        except ValueError as error:
            raise Problem(422, "unknown_arm", f"arm: {error}", "arm") from error

    def _keep(self, tenant: str, asked: CreativeRequest, made: Made, version: str, cutout: str) -> Shelved:
        assert math.isfinite(made.score), "a creative without a score is left out"
        product = asked.product
        creative = StoredCreative(
            creative_id=self.store.new_id(product.product_id),
            tenant=tenant,
            product_id=product.product_id,
            title=product.title,
            category=product.category,
            description=product.description,
            instruction=made.instruction,
            prompt=made.prompt,
            seed=asked.seed,
            candidate=made.candidate,
            version=version,
            score=made.score,
            predicted_ctr=made.predicted_ctr,
            cutout=cutout,
            models=self._maker.models,
            created=self._clock(),
            first_status=self._rules.first_status(tenant, product.category, made.prompt),
            objection=self._rules.objection(tenant, product.category, made.prompt),
        )
        self.store.save(creative, made.png)
        return Shelved(creative, creative.first_status)


async def _before(deadline: float, awaitable: Awaitable[Any]) -> Any:
    try:
        return await asyncio.wait_for(awaitable, max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise Problem(504, "timeout", "the models took longer than serve.limits.request_timeout_s", retry_after=5) from None
