"""`ablation.html`: one self-contained page that says which arm to use, how sure that is, and what it looks like."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from PIL import Image

from caig_rl.ablation.cells import Plan
from caig_rl.ablation.curve import CURVE_FILES, draw_curve
from caig_rl.ablation.gallery import GALLERY_FILE, write_contact_sheet
from caig_rl.ablation.records import CellRecord, write_rows
from caig_rl.ablation.table import (
    DIFFERENCE_HEADINGS,
    HEADINGS,
    TABLE_FILE,
    ArmSummary,
    Difference,
    arm_cells,
    arm_summaries,
    difference_cells,
    differences,
    markdown,
)
from caig_rl.reports.run_report import page_environment
from caig_rl.reports.run_report_text import percent, signed_percent

PAGE_FILE = "ablation.html"


def write_results(plan: Plan, records: Sequence[CellRecord]) -> str:
    """Write rows, table, curve, gallery and page of the finished cells; returns the page's address."""
    folder = plan.folder
    write_rows(folder, records)
    folder.write_text(TABLE_FILE, markdown(plan.ablation, records))
    arms = arm_summaries(plan.ablation, records)
    for name, form in CURVE_FILES.items():
        folder.write_bytes(name, draw_curve(arms, form))
    sheet = write_contact_sheet(plan, records)
    picture = None if sheet is None else _data_uri(folder.read_bytes(GALLERY_FILE))
    return folder.write_text(PAGE_FILE, render_page(plan, records, arms, picture))


def render_page(plan: Plan, records: Sequence[CellRecord], arms: Sequence[ArmSummary], gallery: str | None) -> str:
    """The page as HTML text. `gallery`: the contact sheet as a data URI."""
    compared = differences(plan.ablation, records)
    curve = base64.b64encode(draw_curve(arms, "svg")).decode() if arms else ""
    return (
        page_environment()
        .get_template("page.html.j2")
        .render(
            section="ablation.html.j2",
            title=f"{headline(arms)} · {plan.name}",
            name=plan.name,
            headline=headline(arms),
            detail=detail(plan.ablation.compare, arms, compared),
            simulated=any(row.simulated for arm in arms for row in arm.rows),
            done=len(records),
            planned=len(plan.every_cell),
            headings=HEADINGS,
            rows=[(arm_cells(arm), arm.about) for arm in arms],
            difference_headings=DIFFERENCE_HEADINGS,
            differences=[difference_cells(one) for one in compared],
            compare=plan.ablation.compare,
            curve=f"data:image/svg+xml;base64,{curve}",
            gallery=gallery,
        )
    )


def headline(arms: Sequence[ArmSummary]) -> str:
    """Which arm earns most for one painted creative a showing, and what; other arms are named where they earn more by painting more."""
    single = [arm for arm in arms if arm.per_creative == 1]
    if not single:
        return "No arm that shows every creative it paints is finished"
    best = max(single, key=lambda arm: arm.lift.mean)
    if best.lift.mean <= 0.0:
        return "No arm earned more clicks than the untrained policy"
    span = ""
    if best.lift.interval is not None:
        span = f" (95\u00a0% interval {percent(best.lift.interval.low)} to {percent(best.lift.interval.high)})"
    return f"“{best.name}” earned most: {signed_percent(best.lift.mean)} true CTR{span}"


def detail(compare: str | None, arms: Sequence[ArmSummary], compared: Sequence[Difference]) -> list[str]:
    """Sentences below the headline: what must be known before an arm is chosen."""
    lines = []
    by_name = {arm.name: arm for arm in arms}
    for one in compared:
        interval = one.overall.interval
        if interval is not None and interval.excludes_zero:
            more = "more" if one.overall.mean > 0.0 else "less"
            price = by_name[one.arm].per_creative
            paid = f", {'but' if more == 'more' else 'and'} paints {price} creatives for each that is shown" if price > 1 else ""
            lines.append(f"“{one.arm}” earns {more} than “{compare}”{paid}.")
        else:
            lines.append(f"“{one.arm}” and “{compare}” cannot be told apart by clicks.")
    for arm in arms:
        before, after = arm.relevance_initial, arm.relevance
        if before is not None and after is not None and after.mean < before.mean:
            lines.append(f"“{arm.name}” costs relevance: {percent(before.mean)} before, {percent(after.mean)} after.")
    return lines


def _data_uri(png: bytes) -> str:
    """As a JPEG, a fifth of the size: small enough to mail."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").save(buffer, "JPEG", quality=86)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
