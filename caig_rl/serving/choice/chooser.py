"""One creative for one visitor: the visitor's arm first, then Thompson sampling among what is approved in it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from caig_rl.config.serve import ServeChoice
from caig_rl.serving.choice.arms import Routing
from caig_rl.serving.choice.bandit import Evidence, choice_probabilities
from caig_rl.serving.creatives.store import CreativeStore, StoredCreative
from caig_rl.serving.events.click_counts import ClickCounts
from caig_rl.serving.events.impressions import Impression
from caig_rl.serving.problems import Problem


@dataclass(frozen=True, slots=True)
class Place:
    """Where a creative is wanted."""

    tenant: str
    product_id: str
    segment: str
    """Empty: unknown."""
    visitor: str
    """The client's id of the visitor."""
    position: int


class Chooser:
    """Chooses among approved creatives by what the log says of them."""

    def __init__(self, store: CreativeStore, click_counts: ClickCounts, config: ServeChoice, clock: Callable[[], float]) -> None:
        """`clock`: seconds since 1970 UTC."""
        self._store, self._tally, self._config, self._clock = store, click_counts, config, clock
        self._refreshed = float("-inf")
        self._refreshing = threading.Lock()

    def choose(self, place: Place, routing: Routing, rng: np.random.Generator) -> tuple[StoredCreative, Impression]:
        """The creative to show and the impression to sign.

        Raises:
            Problem: 404 where the product is unknown, or nothing of it is approved yet.
        """
        self.refresh()
        arm, share = routing.arm_of(place.visitor)
        shelf = self._approved(place, routing.shown_versions(arm))
        probabilities = choice_probabilities(
            self._evidence(shelf, place.segment), self._config.prior_impressions, self._config.exploration, rng
        )
        index = int(rng.choice(len(shelf), p=probabilities))
        chosen = shelf[index]
        impression = Impression(
            tenant=place.tenant,
            creative_id=chosen.creative_id,
            product_id=chosen.product_id,
            category=chosen.category,
            segment=place.segment,
            position=place.position,
            visitor=visitor_hash(place.tenant, place.visitor),
            arm=arm,
            arm_share=share,
            experiment=routing.candidate or "",
            version=chosen.version,
            shelf=shelf_hash(shelf),
            propensity=float(probabilities[index]),
            time=self._clock(),
        )
        return chosen, impression

    def refresh(self) -> None:
        """Read the log where the counts are older than `refresh_s`; one thread reads, the others go on with what is known."""
        if self._clock() - self._refreshed < self._config.refresh_s or not self._refreshing.acquire(blocking=False):
            return
        try:
            self._tally.refresh()
            self._refreshed = self._clock()
        finally:
            self._refreshing.release()

    def _approved(self, place: Place, versions: list[str]) -> list[StoredCreative]:
        shelf = self._store.of_product(place.tenant, place.product_id)
        if not shelf:
            raise Problem(404, "unknown_product", "product_id: you have no creatives of this product", "product_id")
        approved = [one.creative for one in shelf if one.status == "approved"]
        for version in versions:
            if own := [one for one in approved if one.version == version]:
                return own
        waiting = sum(one.status == "pending" for one in shelf)
        raise Problem(404, "nothing_approved", f"product_id: no creative of it may be shown yet; {waiting} wait for approval", "product_id")

    def _evidence(self, shelf: list[StoredCreative], segment: str) -> Evidence:
        counts = [self._tally.of(one.creative_id) for one in shelf]
        total = np.array([[one.impressions, one.clicks] for one in counts], dtype=np.float64)
        own = np.array([one.of(segment) for one in counts], dtype=np.float64) if segment else total
        predicted = np.array([one.predicted_ctr for one in shelf])
        return Evidence(predicted, own[:, 0], own[:, 1], total[:, 0] - own[:, 0], total[:, 1] - own[:, 1])


def shelf_hash(shelf: Sequence[StoredCreative]) -> str:
    """Names a set of creatives, in whatever order they come."""
    return hashlib.sha256("\n".join(sorted(one.creative_id for one in shelf)).encode()).hexdigest()[:12]


def visitor_hash(tenant: str, visitor: str) -> str:
    """What the log holds of a visitor: the same for the same visitor of one tenant, and not the id itself."""
    return hashlib.sha256(f"{tenant}\n{visitor}".encode()).hexdigest()[:20]
