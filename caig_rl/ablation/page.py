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
from caig_rl.ablation.summaries import ArmSummary, BoundShare, Difference, bound_shares
from caig_rl.ablation.table import (
    DIFFERENCE_HEADINGS,
    HEADINGS,
    REWARD_HEADINGS,
    TABLE_FILE,
    arm_cells,
    bound_line,
    by_world,
    difference_cells,
    markdown,
    missing_line,
    reward_rows,
)
from caig_rl.reports.run_report import page_environment
from caig_rl.reports.run_report_text import percent, signed_percent

PAGE_FILE = "ablation.html"


def write_results(plan: Plan, records: Sequence[CellRecord]) -> str:
    """Write rows, table, curve, gallery and page of the finished cells; returns the page's address."""
    folder = plan.folder
    write_rows(folder, records)
    folder.write_text(TABLE_FILE, markdown(plan, records))
    for name, form in CURVE_FILES.items():
        folder.write_bytes(name, draw_curve(_of_main_world(plan, records), form))
    sheet = write_contact_sheet(plan, records)
    picture = None if sheet is None else _data_uri(folder.read_bytes(GALLERY_FILE))
    return folder.write_text(PAGE_FILE, render_page(plan, records, picture))


def render_page(plan: Plan, records: Sequence[CellRecord], gallery: str | None) -> str:
    """The page as HTML text. `gallery`: the contact sheet as a data URI."""
    worlds, arms = by_world(plan, records), _of_main_world(plan, records)
    compared = [one for found in worlds for one in found.differences]
    curve = base64.b64encode(draw_curve(arms, "svg")).decode() if arms else ""
    return (
        page_environment()
        .get_template("page.html.j2")
        .render(
            section="ablation.html.j2",
            title=f"{headline(arms)} · {plan.name}",
            name=plan.name,
            headline=headline(arms),
            detail=detail([arm for found in worlds for arm in found.arms], compared, bound_shares(plan, records)),
            missing=missing_line(plan, records),
            simulated=any(record.row.simulated for record in records),
            done=len(records),
            planned=len(plan.every_cell),
            headings=HEADINGS,
            worlds=[
                (found.world, [(arm_cells(arm), arm.about) for arm in found.arms], [difference_cells(one) for one in found.differences])
                for found in worlds
            ],
            main_world=plan.main_world,
            difference_headings=DIFFERENCE_HEADINGS,
            reward_headings=REWARD_HEADINGS,
            rewards=reward_rows(plan),
            curve=f"data:image/svg+xml;base64,{curve}",
            gallery=gallery,
        )
    )


def headline(arms: Sequence[ArmSummary]) -> str:
    """Which arm of one world earns most for one painted creative a showing, and what. A bound is no arm that anyone could use."""
    single = [arm for arm in arms if arm.per_creative == 1 and not arm.is_bound]
    if not single:
        return "No arm that shows every creative it paints is finished"
    best = max(single, key=lambda arm: arm.lift.mean)
    if best.lift.mean <= 0.0:
        return "No arm earned more clicks than the untrained policy"
    span = ""
    if best.lift.interval is not None:
        span = f" (95\u00a0% interval {percent(best.lift.interval.low)} to {percent(best.lift.interval.high)})"
    return f"“{best.name}” earned most: {signed_percent(best.lift.mean)} true CTR{span}"


def detail(arms: Sequence[ArmSummary], compared: Sequence[Difference], shares: Sequence[BoundShare]) -> list[str]:
    """Sentences below the headline: what must be known before an arm is chosen."""
    lines = [bound_line(one) for one in shares]
    by_name = {arm.name: arm for arm in arms}
    for one in compared:
        interval = one.overall.interval
        if by_name[one.arm].is_bound:
            continue
        if interval is not None and interval.excludes_zero:
            more = "more" if one.overall.mean > 0.0 else "less"
            price = by_name[one.arm].per_creative
            paid = f", {'but' if more == 'more' else 'and'} paints {price} creatives for each that is shown" if price > 1 else ""
            lines.append(f"“{one.arm}” earns {more} than “{one.against}”{paid}.")
        else:
            lines.append(f"“{one.arm}” and “{one.against}” cannot be told apart by clicks.")
    for arm in arms:
        before, after = arm.relevance_initial, arm.relevance
        if before is not None and after is not None and after.mean < before.mean:
            lines.append(f"“{arm.name}” costs relevance: {percent(before.mean)} before, {percent(after.mean)} after.")
    return lines


def _of_main_world(plan: Plan, records: Sequence[CellRecord]) -> list[ArmSummary]:
    return [arm for found in by_world(plan, records) if found.world == plan.main_world for arm in found.arms]


def _data_uri(png: bytes) -> str:
    """As a JPEG, a fifth of the size: small enough to mail."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").save(buffer, "JPEG", quality=86)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
