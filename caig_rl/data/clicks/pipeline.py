"""All of it in one go: `caig-rl data pairs`. Memory holds one batch of rows, one row an arm, and one chunk of pairs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks.checks import EXAMPLES, FaultCounter
from caig_rl.data.clicks.columns import PICTURE
from caig_rl.data.clicks.creatives import CREATIVE_SCHEMA, creative_statistics, merge_arms, usable_arms
from caig_rl.data.clicks.files import parquet_writer, remove, write_text
from caig_rl.data.clicks.pairs import PAIR_SCHEMA, POLICIES, comparison_blocks, count_all_pairs, label_trust, make_pairs, policy_mask
from caig_rl.data.clicks.picture_file import copy_pictures
from caig_rl.data.clicks.reading import ClickLog, read_log
from caig_rl.data.clicks.sample_ratio import SampleRatio, check_sample_ratio, chosen_design
from caig_rl.data.clicks.segments import SEGMENT_SCHEMA, SEGMENTS, segment_creatives
from caig_rl.data.clicks.splits import HELDOUT, TRAIN, VALIDATION
from caig_rl.data.clicks.summary import SUMMARY, ClickSummary, Faults, PolicyCount, SplitCheck
from caig_rl.data.clicks.totals import ArmTotals
from caig_rl.errors import ClickLogError

CREATIVES, PAIRS = "creatives.parquet", "pairs.parquet"
Progress = Callable[[int], None]
"""Told the rows read so far."""
_WORST = 10


def inspect_log(
    config: ClicksConfig, seed: int = 0, progress: Progress = lambda rows: None, segments: Sequence[str] = ()
) -> tuple[ClickSummary, pa.Table]:
    """Read and check the log, up to the statistics of its creatives (a `CREATIVE_SCHEMA` table). Nothing is written.

    Args:
        config: where the log is, and how it is read.
        seed: of the splits.
        progress: told the rows read so far.
        segments: of shoppers, whose creatives are counted apart too.

    Raises:
        ClickLogError: the log cannot be read, more than `max_faulty_share` of its rows or files are faulty, no row has a click, or none is
            of one of `segments`.
        ConfigError: a wrong key in `config.columns`.
    """
    found = _logged_creatives(read_log(config, bool(segments)), config, seed, progress, segments)
    return found.summary, found.creatives


@dataclass(frozen=True, slots=True)
class _Logged:
    """What a log holds."""

    summary: ClickSummary
    creatives: pa.Table
    """`CREATIVE_SCHEMA`, N rows."""
    places: pa.ChunkedArray | None
    """(N,) where each creative's picture lies in the log; None where it holds none as bytes."""
    by_segment: pa.Table | None
    """`SEGMENT_SCHEMA`; None where segments are not told apart."""


def _logged_creatives(log: ClickLog, config: ClicksConfig, seed: int, progress: Progress, segments: Sequence[str]) -> _Logged:
    summary = ClickSummary(str(config.path), policy=config.policy)
    arms, segment_arms = _read_arms(log, config, summary, progress, bool(segments))
    design = chosen_design(arms, config.split)
    if design in ("propensity", "share") and f"{design}_min" not in arms.column_names:
        raise ClickLogError(f"clicks.split is {design!r}, but the log has no such column; map it by clicks.columns.{design}")
    # Arms that were never shown stay in until here: none of the traffic meant for them is a deviation too.
    ratio = check_sample_ratio(arms, design, config.sample_ratio_level)
    summary.split_check = _split_check(ratio, config.sample_ratio_level)
    kept = usable_arms(arms, ratio)
    summary.add("tests", len(ratio.tests), "tests (what traffic was split in)")
    summary.add("tests_split_as_designed", int(ratio.usable.sum()), "tests not set aside by the sample-ratio check")
    merged = merge_arms(kept)
    summary.add("creatives_in_usable_tests", merged.num_rows, "creatives in those tests")
    merged = merged.filter(pc.greater_equal(merged["impressions"], float(config.min_impressions)))
    summary.add("creatives_above_floor", merged.num_rows, f"creatives with at least {config.min_impressions} impressions")
    creatives, prior = creative_statistics(merged, config, seed)
    summary.prior_impressions = prior
    starts, ends = comparison_blocks(creatives)
    summary.add("comparable_tests", int(np.sum(ends - starts > 1)), "tests with at least two such creatives")
    summary.add("pairs_possible", count_all_pairs(creatives), "same-product pairs of such creatives")
    by_segment = None
    if segment_arms is not None:
        by_segment = segment_creatives(segment_arms, kept, segments, config.min_impressions)
        summary.add("segment_creatives", by_segment.num_rows, f"creatives with as many in a segment, of {len(segments)} segments")
    return _Logged(summary, creatives, merged[PICTURE] if PICTURE in merged.column_names else None, by_segment)


def make_pair_files(
    config: ClicksConfig, seed: int = 0, progress: Progress = lambda rows: None, segments: Sequence[str] = ()
) -> ClickSummary:
    """`inspect_log`, then write `creatives.parquet`, `pairs.parquet` and `clicks.json` to `config.out`; each file is whole or as before.
    Pictures that the log holds as bytes are copied to `images.bin` beside them, which reads the log once more. With `segments`, what each
    creative earned among them is in `segments.parquet`.

    Raises:
        ClickLogError: as `inspect_log`; or the policy keeps no pair to train on, with the count after each step.
        ConfigError: a wrong key in `config.columns`.
    """
    log = read_log(config, bool(segments))
    found = _logged_creatives(log, config, seed, progress, segments)
    summary, creatives, places = found.summary, found.creatives, found.places
    policy_counts = _PolicyCounts()
    with parquet_writer(config.out, PAIRS, PAIR_SCHEMA) as write:
        for pairs in make_pairs(creatives, config.max_pairs_per_test, seed):
            policy_counts.add(pairs)
            write(pairs)
        summary.add("pairs", policy_counts.num_pairs, f"pairs after the limit of {config.max_pairs_per_test} a test")
        summary.policies = policy_counts.counts()
        if summary.policies[config.policy].train == 0:
            raise ClickLogError(f"policy {config.policy!r} keeps no pair to train on. {summary.counts_text()}; {policy_counts.text()}")
    if places is not None:
        creatives = copy_pictures(log, creatives, places, config.out)
        summary.add("pictures", len(places) - places.null_count, "pictures copied from the log")
    with parquet_writer(config.out, CREATIVES, CREATIVE_SCHEMA) as write:
        write(creatives)
    if found.by_segment is None:
        # Of an earlier call with segments: it would say nothing of this log.
        remove(config.out, SEGMENTS)
    else:
        with parquet_writer(config.out, SEGMENTS, SEGMENT_SCHEMA) as write:
            write(found.by_segment)
    write_text(config.out, SUMMARY, json.dumps(summary.to_json(), indent=1) + "\n")
    return summary


def _read_arms(
    log: ClickLog, config: ClicksConfig, summary: ClickSummary, progress: Progress, by_segment: bool
) -> tuple[pa.Table, pa.Table | None]:
    """The arms, and with `by_segment` the same with a row for each segment."""
    faults, totals = FaultCounter(), ArmTotals(config.rows_are_arms)
    of_segments = ArmTotals(config.rows_are_arms, by_segment=True) if by_segment else None
    for batch in log:
        accepted = faults.accepted(batch)
        totals.add(accepted)
        if of_segments is not None:
            of_segments.add(accepted)
        progress(faults.num_rows)
    summary.add("rows_read", faults.num_rows, "rows read")
    summary.add("rows_accepted", faults.num_rows - faults.num_faulty, "rows without fault")
    summary.faults = {reason: Faults(count, tuple(faults.examples[reason])) for reason, count in faults.counts.most_common()}
    if log.broken:
        summary.faults["file_unreadable"] = Faults(len(log.broken), tuple(log.broken[:EXAMPLES]))
    summary.unused = log.unused
    faults.check_share(config.max_faulty_share)
    arms = totals.table()
    if arms.num_rows == 0:
        raise ClickLogError(f"{config.path} holds no rows")
    if not pc.any(pc.greater(arms["clicks"], 0.0)).as_py():
        raise ClickLogError(
            f"there is no click in {summary.count('rows_accepted')} accepted rows. Clicks were read from column {log.source('clicks')!r}; "
            f"if they are in another, set clicks.columns.clicks to it. {summary.counts_text()}"
        )
    summary.add("arms", arms.num_rows, "arms (what traffic was split between)")
    return arms, None if of_segments is None else of_segments.table()


def _split_check(ratio: SampleRatio, level: float) -> SplitCheck:
    aside = np.flatnonzero(~ratio.usable)
    order = aside[np.argsort(ratio.p_values[aside], kind="stable")][:_WORST]
    # A NaN marks a test set aside without a test statistic; JSON has no word for it, and p = 0 says the same.
    worst = tuple((ratio.tests[int(k)], float(np.nan_to_num(ratio.p_values[k]))) for k in order)
    verdicts = {str(verdict): count for verdict, count in Counter(ratio.verdicts).most_common()}
    return SplitCheck(ratio.design, level, verdicts, worst, ratio.spanning)


class _PolicyCounts:
    """Pairs by policy and split."""

    def __init__(self) -> None:
        self.num_pairs = 0
        self._kept: Counter[tuple[str, str]] = Counter()
        self._trusted: dict[str, float] = dict.fromkeys(POLICIES, 0.0)
        self._labelled: Counter[str] = Counter()

    def add(self, pairs: pa.Table) -> None:
        """Count one chunk."""
        self.num_pairs += pairs.num_rows
        splits, trust = pairs["split"].to_numpy(), label_trust(pairs)
        for policy in POLICIES:
            mask = policy_mask(pairs, policy)
            for split in (TRAIN, VALIDATION, HELDOUT):
                self._kept[policy, split] += int(np.sum(mask & (splits == split)))
            told = mask & np.isfinite(trust)
            self._labelled[policy] += int(told.sum())
            self._trusted[policy] += float(trust[told].sum())

    def counts(self) -> dict[str, PolicyCount]:
        """By policy name."""
        return {
            policy: PolicyCount(
                self._kept[policy, TRAIN],
                self._kept[policy, VALIDATION],
                self._kept[policy, HELDOUT],
                self._trusted[policy] / self._labelled[policy] if self._labelled[policy] else None,
            )
            for policy in POLICIES
        }

    def text(self) -> str:
        """Training pairs by policy, for a message."""
        return "training pairs by policy: " + ", ".join(f"{policy} {self._kept[policy, TRAIN]:,}" for policy in POLICIES)
