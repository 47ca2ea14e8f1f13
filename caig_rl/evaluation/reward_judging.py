"""Asks a reward model about every held-out pair of a click dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from caig_rl.data.clicks.dataset import ClickDataset
from caig_rl.errors import ClickLogError
from caig_rl.evaluation.reward_evaluation import JudgedPairs, agreement
from caig_rl.models.reward.endpoint import Bill
from caig_rl.models.reward.interface import RewardError, RewardModel
from caig_rl.models.reward.judge import RewardJudge
from caig_rl.models.reward.side_by_side import SideBySideReward

Progress = Callable[[int, int], None]
"""Told the pairs done and all."""
SILENT_PAIRS = 64
"""Pairs without one answer among them, from the first on, after which no more are asked: a wrong key, or an endpoint that is down."""


@dataclass(frozen=True, slots=True)
class Judging:
    """What a model said of a dataset's pairs."""

    pairs: JudgedPairs
    """Of the pairs that have an answer."""
    rows: np.ndarray
    """(M,) which pairs of the dataset these are."""
    failed: int
    """Pairs without an answer."""
    bill: Bill | None = None
    """What asking came to; None for a model that is not behind an endpoint."""


def judge_dataset(model: RewardModel, data: ClickDataset, batch_size: int = 64, progress: Progress = lambda done, total: None) -> Judging:
    """The model's answer to every pair of `data` (`readable_pairs` of a log); pairs that it cannot answer are left out and counted.

    Raises:
        PictureRefused: a picture cannot be read.
        RewardError: not one pair has an answer, or not one of the first `SILENT_PAIRS`; or the judge's endpoint is silent.
    """
    total = len(data.first)
    log_odds, flips = np.full(total, np.nan), np.zeros(total, dtype=bool)
    fault: RewardError | None = None
    for start in range(0, total, batch_size):
        part = np.arange(start, min(start + batch_size, total))
        while len(part):
            try:
                log_odds[part], flips[part] = _answers(model, data, part, batch_size)
            except RewardError as error:
                fault = error
                part = _others(part, data, error)
                continue
            break
        done = min(start + batch_size, total)
        progress(done, total)
        is_over = done == total or done >= SILENT_PAIRS or (isinstance(model, RewardJudge) and model.endpoint.is_silent)
        if fault is not None and is_over and not np.isfinite(log_odds).any():
            raise fault
    rows = np.flatnonzero(np.isfinite(log_odds))
    bill = model.endpoint.bill() if isinstance(model, RewardJudge) else None
    return Judging(_judged(model, data, rows, log_odds, flips), rows, total - len(rows), bill)


def shared_agreement(one: Judging, other: Judging) -> float:
    """Share of the pairs answered by both that they put in the same order.

    Raises:
        ClickLogError: no pair is answered by both.
    """
    _, mine, theirs = np.intersect1d(one.rows, other.rows, assume_unique=True, return_indices=True)
    if not len(mine):
        raise ClickLogError("no pair is answered by both models: there is nothing to compare them on")
    return agreement(one.pairs.log_odds[mine], other.pairs.log_odds[theirs])


def _others(part: np.ndarray, data: ClickDataset, error: RewardError) -> np.ndarray:
    """Of the pairs `part`, those that did not fail."""
    if error.pairs:
        return np.delete(part, error.pairs)
    return np.array([i for i in part if data.product(int(data.first[i])).product_id not in error.product_ids], dtype=np.int64)


def _answers(model: RewardModel, data: ClickDataset, part: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds, and whether one order alone names the same side both ways round."""
    products = [data.product(int(row)) for row in data.first[part]]
    firsts, seconds = ([data.image(int(row)) for row in rows[part]] for rows in (data.first, data.second))
    log_odds = model.compare(products, firsts, seconds, batch_size)
    if isinstance(model, SideBySideReward):
        one = model.left_log_odds(products, firsts, seconds, batch_size)
        return log_odds, np.sign(one) == np.sign(model.left_log_odds(products, seconds, firsts, batch_size))
    return log_odds, log_odds == 0.0 if isinstance(model, RewardJudge) else np.zeros(len(part), dtype=bool)


def _judged(model: RewardModel, data: ClickDataset, rows: np.ndarray, log_odds: np.ndarray, flips: np.ndarray) -> JudgedPairs:
    pairs = data.pairs
    label = pairs["label"].to_numpy(zero_copy_only=False).astype(np.float64)
    products = [data.product(int(data.first[row])) for row in rows]
    sees_positions = isinstance(model, (SideBySideReward, RewardJudge))
    return JudgedPairs(
        log_odds=log_odds[rows],
        label=label[rows],
        order_probability=pairs["order_probability"].to_numpy().astype(np.float64)[rows],
        significant=pairs["significant"].to_numpy(zero_copy_only=False)[rows],
        products=[product.product_id for product in products],
        categories=[product.category for product in products],
        flips=flips[rows] if sees_positions else None,
    )
