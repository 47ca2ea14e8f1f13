"""From the service's records to what goes over the wire."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from caig_rl.serving.creatives.maker_interface import NOT_SCORED, Made
from caig_rl.serving.creatives.store import Shelved
from caig_rl.serving.events.click_counts import Counts
from caig_rl.serving.http.schemas import Creative, Creatives, LeftOut, Report, ReportRow
from caig_rl.serving.problems import Problem
from caig_rl.serving.service import Service, Started
from caig_rl.statistics import wilson_interval

logger = logging.getLogger(__name__)

REPORT_ROWS = 200


def creative_answer(service: Service, shelved: Shelved) -> Creative:
    """One creative."""
    one = shelved.creative
    return Creative(
        creative_id=one.creative_id,
        product_id=one.product_id,
        title=one.title,
        category=one.category,
        status=shelved.status,
        objection=one.objection,
        image_url=f"/v1/images/{service.image_token(one)}",
        prompt=one.prompt,
        predicted_ctr=one.predicted_ctr,
        score=one.score,
        policy_version=one.version,
        seed=one.seed,
        candidate=one.candidate,
        models=one.models,
        created=one.created,
    )


async def ranked_answer(service: Service, messages: AsyncIterator[Started | Shelved | Made]) -> Creatives:
    """All candidates, the best predicted first.

    Raises:
        Problem: as `nothing_usable` says, where none can be shown.
    """
    answer: Creatives | None = None
    async for message in messages:
        if isinstance(message, Started):
            product_id = message.request.product.product_id
            answer = Creatives(product_id=product_id, policy_version=message.version, seed=message.request.seed, creatives=[], left_out=[])
        elif isinstance(message, Shelved):
            assert answer is not None
            answer.creatives.append(creative_answer(service, message))
        else:
            assert answer is not None
            answer.left_out.append(_left_out(message))
    assert answer is not None, "the first message is Started"
    if not answer.creatives:
        raise nothing_usable(answer.seed, answer.left_out)
    answer.creatives.sort(key=lambda one: (-one.score, one.candidate))
    return answer


async def streamed_answer(
    service: Service, first: Started, messages: AsyncIterator[Started | Shelved | Made], request_id: str = ""
) -> AsyncIterator[str]:
    """One JSON object a line: "start", then "creative" and "left_out" as they come, and at last "end" with the ranking, or "problem".

    A "problem" has the ranking of the creatives before it, and `retry_after` (seconds, or null).
    `request_id` is for the log.
    """
    scores: dict[str, float] = {}
    left_out: list[LeftOut] = []
    product_id = first.request.product.product_id
    head = {"product_id": product_id, "policy_version": first.version, "seed": first.request.seed, "candidates": first.request.candidates}
    yield _line("start", head)
    try:
        async for message in messages:
            if isinstance(message, Shelved):
                creative = creative_answer(service, message)
                scores[creative.creative_id] = creative.score
                yield _line("creative", {"creative": creative.model_dump()})
            elif isinstance(message, Made):
                left_out.append(_left_out(message))
                yield _line("left_out", {"left_out": left_out[-1].model_dump()})
        if not scores:
            raise nothing_usable(first.request.seed, left_out)
    except Problem as problem:
        yield _problem_line(problem, scores)
        return
    except Exception:  # the status line is out: the answer itself must say that it ends too soon
        logger.exception("an answer failed while it was sent", extra={"request": request_id})
        yield _problem_line(Problem(500, "failed", "the service failed on this request; it is in its log"), scores)
        return
    yield _line("end", {"ranking": _ranking(scores)})


def nothing_usable(seed: int, left_out: list[LeftOut]) -> Problem:
    """No candidate can be shown: 422 where none of the pictures is fit to be, 502 where the reward model failed on any."""
    reasons = ", ".join(sorted({one.reason for one in left_out}))
    facts = {"seed": seed, "left_out": [one.model_dump() for one in left_out]}
    detail = f"none of {len(left_out)} candidates can be shown ({reasons})"
    if any(one.reason == NOT_SCORED for one in left_out):
        return Problem(
            502,
            "model_failed",
            f"{detail}: the reward model has no score for some; try another seed, and see the service's log",
            facts=facts,
        )
    return Problem(422, "nothing_usable", f"{detail}; try another seed, more candidates, or a cleaner cut-out", facts=facts)


def report_answer(service: Service, tenant: str) -> Report:
    """CTR of the creatives that may be shown, or were."""
    service.chooser.refresh()
    counted = [(shelved, service.click_counts.of(shelved.creative.creative_id)) for shelved in service.store.all(tenant)]
    running = [(shelved, counts) for shelved, counts in counted if shelved.status == "approved" or counts.impressions]
    running.sort(key=lambda one: (-one[1].impressions, -one[0].creative.created))
    rows = [_report_row(service, shelved, counts) for shelved, counts in running[:REPORT_ROWS]]
    routing = service.routing
    return Report(rows=rows, live=routing.live, candidate=routing.candidate, traffic=routing.traffic)


def _report_row(service: Service, shelved: Shelved, counts: Counts) -> ReportRow:
    interval = wilson_interval(counts.clicks, counts.impressions) if counts.impressions else None
    return ReportRow(
        creative=creative_answer(service, shelved),
        impressions=counts.impressions,
        clicks=counts.clicks,
        ctr=counts.clicks / counts.impressions if counts.impressions else None,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
    )


def _left_out(made: Made) -> LeftOut:
    return LeftOut(candidate=made.candidate, prompt=made.prompt, reason=made.left_out)


def _ranking(scores: dict[str, float]) -> list[str]:
    return sorted(scores, key=lambda creative_id: -scores[creative_id])


def _problem_line(problem: Problem, scores: dict[str, float]) -> str:
    """What was shelved before is there to be used: its ranking goes along."""
    return _line("problem", {"problem": problem.document(), "ranking": _ranking(scores), "retry_after": problem.retry_after})


def _line(kind: str, content: dict[str, Any]) -> str:
    return json.dumps({"type": kind, **content}) + "\n"
