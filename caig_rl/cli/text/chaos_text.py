"""What `caig-rl chaos` tells a person: its plan beforehand, its records at the end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.table import Table

from caig_rl.runs.summary import RunSummary

if TYPE_CHECKING:
    from actors.chaos.fault_plan import FaultKind, FaultPlan
    from actors.chaos.fault_records import FaultRecords

UNSEEN = "not seen before the end"


def plan_table(plan: FaultPlan, count: int) -> Table:
    """The first `count` faults of a plan. A fault waits for a victim that is up, so times are the earliest."""
    table = Table("after", "fault", "victim", title=f"chaos plan, seed {plan.seed}, from the first round on", title_justify="left")
    at_s, planned = 0.0, plan.faults()
    for _ in range(count):
        fault = next(planned)
        at_s += fault.delay_s
        table.add_row(f"{at_s:.0f} s", str(fault.kind), fault.target)
    return table


def fault_table(records: FaultRecords) -> Table:
    """Each fault: when, what, and what became of it."""
    table = Table("life", "time (UTC)", "fault", "victim", "outcome", title="chaos", title_justify="left")
    for fault in records.faults:
        after = "" if fault.after_s is None else f" after {fault.after_s:.1f} s"
        when = datetime.fromtimestamp(fault.at, UTC).strftime("%H:%M:%S")
        table.add_row(str(fault.life), when, str(fault.kind), fault.victim, f"{fault.outcome or UNSEEN}{after}")
    return table


def sums(summary: RunSummary) -> str:
    """Admissions against the sum of their outcomes."""
    products = summary.products
    failed = sum(products.failed.values())
    total = products.trained + failed + products.expired + products.tied
    is_equal = total + products.in_flight == products.admitted
    return (
        f"{products.admitted} admitted {'=' if is_equal else 'IS NOT'} {products.trained} trained + {failed} failed + "
        f"{products.expired} expired + {products.tied} tied + {products.in_flight} in flight"
    )


def complaints(summary: RunSummary, records: FaultRecords, kinds: Sequence[FaultKind]) -> list[str]:
    """What a finished run under fire does not show; empty where all is well."""
    found = [] if "IS NOT" not in sums(summary) else [f"lost count: {sums(summary)}"]
    if not records.faults:
        found.append("no fault was injected")
    return found + [f"never injected, {line}" for line in records.never(kinds)]
