from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from caig_rl.ablation.page import write_results
from caig_rl.ablation.summaries import arm_summaries
from tests.ablation.made_up import WORLDS, a_plan, leave_files, record


def test_the_results_are_one_page_a_table_a_curve_and_a_sheet_of_the_same_products(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    cells = [cell for cell in plan.cells if cell.arm.name != "ours-of-3"]
    for cell in cells:
        leave_files(plan, cell)
    records = [record(cell, *[0.03 + 0.001 * index] * 3) for index, cell in enumerate(cells)]
    write_results(plan, records)
    folder = plan.folder
    page = folder.read_text("ablation.html")
    assert "<h1>“chance” earned most: +" in page and "The &lt;one&gt; to beat." in page and "6 of 8 runs finished" in page
    assert "“chance” earns more than “ours”." in page
    assert "“two” earns less than “ours”, and paints 2 creatives for each that is shown." in page
    assert "http" not in page.replace("http://www.w3.org", "") and "<script" not in page
    sheet = Image.open(io.BytesIO(folder.read_bytes("gallery.png")))
    assert sheet.height > 4 * 150 and sheet.width == 12 + 2 * 162  # untrained and three arms; two products
    assert folder.read_bytes("curve.svg").startswith(b"<?xml") and folder.read_bytes("curve.png").startswith(b"\x89PNG")


def test_results_without_pictures_or_training_are_written_all_the_same(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    records = [record(plan.cells[0], 0.019, 0.02)]
    write_results(plan, records)
    assert "No arm that shows every creative it paints is finished" in plan.folder.read_text("ablation.html")
    assert not plan.folder.exists("gallery.png")
    assert arm_summaries(plan, records)[0].to_half is None


def test_the_headline_the_curve_and_the_sheet_are_of_one_world_and_no_bound_is_the_winner(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, text=WORLDS)
    earned = {"ours": 0.03, "bound": 0.0375, "no-trap": 0.038, "ours-w1": 0.039, "dpo-w1": 0.035}
    for cell in plan.cells:
        leave_files(plan, cell)
    write_results(plan, [record(cell, earned[cell.arm.name], earned[cell.arm.name]) for cell in plan.cells])
    page = plan.folder.read_text("ablation.html")
    assert "<h1>“ours” earned most: +50.0" in page
    assert "ours has 0.57 (0.57 to 0.57) of the lift of bound" in page and "“bound” earns more" not in page
    assert "Every arm of world 1" in page and "“dpo-w1” earns less than “ours-w1”." in page
    curve = plan.folder.read_text("curve.svg")
    assert "<!-- bound -->" in curve and "<!-- ours-w1 -->" not in curve and "<!-- no-trap -->" not in curve
    sheet = Image.open(io.BytesIO(plan.folder.read_bytes("gallery.png")))
    assert 3 * 150 < sheet.height < 4 * 230  # untrained, ours and bound
