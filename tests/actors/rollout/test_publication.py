from __future__ import annotations

import asyncio

import numpy as np

from actors.rollout.publication import LivePublication
from actors.weights.published import Canary, PublishedWeights
from caig_rl.types import PolicyVersion


def _published(number: int) -> PublishedWeights:
    return PublishedWeights(PolicyVersion(0, number), "hash", Canary("", np.zeros((1, 1, 3), np.uint8), (1,)), (-0.5,), ())


def test_a_loss_is_reported_once_with_what_the_first_worker_was_told_until_the_next_publication() -> None:
    async def main() -> None:
        publication, first = LivePublication(), _published(1)
        await publication.replace(first)
        waiting = [asyncio.create_task(publication.next_after_loss(first, detail)) for detail in ("gone", "gone too")]
        loss = await publication.when_lost()
        assert (loss.version, loss.detail, publication.is_lost) == (first.version, "gone", True)
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        await publication.replace(_published(2))
        assert not publication.is_lost
        await asyncio.gather(*waiting)

    asyncio.run(main())


def test_a_worker_that_misses_what_is_superseded_already_reports_nothing_and_waits_for_nothing() -> None:
    async def main() -> None:
        publication, first = LivePublication(), _published(1)
        await publication.replace(first)
        await publication.replace(_published(1))
        await asyncio.wait_for(publication.next_after_loss(first, "gone"), 5)
        assert not publication.is_lost

    asyncio.run(main())


def test_a_loss_that_is_over_before_the_one_who_waits_has_its_turn_is_none() -> None:
    async def main() -> None:
        publication, first = LivePublication(), _published(1)
        await publication.replace(first)
        looking = asyncio.create_task(publication.when_lost())
        await asyncio.sleep(0)
        reporting = asyncio.create_task(publication.next_after_loss(first, "gone"))
        await asyncio.sleep(0)
        await publication.replace(_published(2))
        await reporting
        await asyncio.sleep(0)
        assert not looking.done() and not publication.is_lost
        looking.cancel()

    asyncio.run(main())
