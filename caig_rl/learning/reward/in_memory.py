"""A reward model trained in this process on tests held in memory: small logs, the embedded model, benchmarks. Same `Trainer` as the job."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caig_rl.config.reward import ClicksConfig, RewardTrainConfig
from caig_rl.learning.engine import init_group
from caig_rl.learning.reward.objective import LogFacts
from caig_rl.learning.reward.task import RewardTask
from caig_rl.learning.trainer import Progress, Trainer, check_trained

Groups = Mapping[str, Sequence[Any]]
"""Whole log in `GROUP_SCHEMA` columns, or `SEGMENTED_SCHEMA`'s, one entry a test (and segment)."""
IntArray = npt.NDArray[np.int64]


def group_batches(groups: Groups, tests: IntArray, size: int) -> Iterator[dict[str, list[Any]]]:
    """Batches of `size` of the `tests`, in their order."""
    for start in range(0, len(tests), size):
        yield {name: [values[int(k)] for k in tests[start : start + size]] for name, values in groups.items()}


def facts_of(groups: Groups, tests: IntArray, prior_impressions: float) -> LogFacts:
    """What the log of these tests says as a whole."""
    clicks, shown = (np.concatenate([groups[name][int(k)] for k in tests]) for name in ("clicks", "impressions"))
    rate = float((clicks.sum() + 0.5) / (shown.sum() + 1.0))
    ctr = clicks / shown
    return LogFacts(rate, float(clicks.mean()), float(ctr.mean()), float(ctr.std()) or 1.0, prior_impressions)


def train_in_memory(
    config: RewardTrainConfig,
    clicks: ClicksConfig,
    facts: LogFacts,
    backbone: Path,
    training: tuple[Groups, IntArray],
    validation: tuple[Groups, IntArray],
    seed: int,
    folder: Path,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
    segments: Sequence[str] = (),
) -> Progress:
    """Train on the tests `training` (log, which of its tests), stop by `validation`, and leave the best model in `folder`.

    `segments`: those of shoppers that the log tells apart.

    Raises:
        UserError: no epoch ended with a finite loss.
    """
    init_group(0, 1)
    task = RewardTask(config, clicks, facts, backbone, seed, segments)
    trainer = Trainer(task, config, 0, config.epochs * math.ceil(len(training[1]) / config.batch_size), seed)
    done = trainer.run(
        lambda epoch: group_batches(training[0], np.random.default_rng([seed, epoch]).permutation(training[1]), config.batch_size),
        lambda: group_batches(*validation, config.batch_size),
        lambda: trainer.export(folder),
        on_epoch,
    )
    check_trained(done)
    return done
