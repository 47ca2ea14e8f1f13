"""X"""

from __future__ import annotations

from collections import Counter

from actors.rollout.worker_replies import RenderReply
from caig_rl.runs.summary import (
    CreativeCounts,
)


def gate_counts(render: RenderReply) -> CreativeCounts:
    """What the usability gate said of one shard's creatives."""
    reports = [report for row in render.reports for report in row]
    return CreativeCounts(
        painted=len(reports),
        refused=dict(Counter(report.reason for report in reports if not report.usable)),
        product_difference=max((report.product_difference for report in reports), default=None),
    )
