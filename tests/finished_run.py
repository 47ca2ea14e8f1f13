"""A run that never happened, complete with every file that the report reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from caig_rl.runs.folder import RunFolder
from caig_rl.runs.gallery import GalleryEntry, GallerySide, write_gallery
from caig_rl.runs.ledger import Ledger
from caig_rl.runs.summary import RunSummary, write_summary
from caig_rl.types import Admission, ImageArray, Outcome, PolicyVersion, Rejected

GOODS = (
    ("Porcelain tea pot <b>Mei</b>", "kitchen"),
    ("Trail running shoe", "shoes"),
    ("Night repair serum", "beauty"),
    ("Desk lamp", "lighting"),
)
BEFORE_PROMPT = "a plain grey wall, soft light"
AFTER_PROMPT = "a warm oak table by a window, morning light, a sprig of eucalyptus beside the product, muted sage wall"


def make_summary_values(**changes: Any) -> dict[str, Any]:
    """The values of a complete, consistent `summary.json`; `changes` replace whole top-level keys."""
    values: dict[str, Any] = {
        "run": "made-up",
        "status": "done",
        "objective": "pcpo",
        "catalog": "products of the click world",
        "simulated": True,
        "seed": 0,
        "rounds": 6,
        "policy_version": "0.6",
        "products": {
            "admitted": 10,
            "trained": 6,
            "failed": {"unusable": 1, "render_error": 1},
            "expired": 0,
            "tied": 2,
            "rejected": {"image_missing": 1},
        },
        "ctr": {"initial": 0.02, "final": 0.025, "lift": 0.25, "ci95": (0.17, 0.33), "ceiling": 0.032},
        "relevance": {"initial": 0.58, "final": 0.64},
        "reward": {"heldout_accuracy": 0.71, "ceiling": 0.81},
        "policy": {"kl": 3.2, "distinct_prompts": 0.78},
        "throughput": {"pairs_per_s": 1.4, "images_per_s": 6.1, "tokens_per_s": 410.0},
        "time": {"total_s": 432.0, "stages": {"policy": 61.0, "render": 228.0, "score": 34.0, "learn": 74.0, "sync": 9.0, "idle": 26.0}},
        "sync": {"count": 6, "verified": 6},
        "peak_memory_gib": 8.4,
        "evaluation": {"products": 96, "prompts_per_product": 2, "held_out": True},
        "prompts": {
            "initial": {"malformed": 0.02, "trap": 0.07, "distinct": 0.98, "commonest_background": 0.21, "attribute_entropy": 2.41},
            "final": {"malformed": 0.05, "trap": 0.06, "distinct": 0.78, "commonest_background": 0.3, "attribute_entropy": 1.9},
        },
    }
    return values | changes


def make_ledger() -> Ledger:
    """Ten admissions that agree with `make_summary_values`, and one rejected row."""
    where = "products.csv row 12"
    ledger = Ledger([Rejected(where, "image_missing", f"{where}: images/sofa.png is not there; check the column `image`")])
    for number in range(10):
        ledger.admit(Admission(number, number // 5, f"p{number}", seed=2**63 + number))
    version = PolicyVersion(0, 1)
    for number in range(6):
        ledger.finish(number, Outcome.TRAINED, version=version)
    ledger.finish(
        6, Outcome.FAILED, "unusable", message="product_extended: 14 % of the product's outline was painted over", version=version
    )
    ledger.finish(7, Outcome.FAILED, "render_error", message="the renderer ran out of memory", attempts=2)
    ledger.finish(8, Outcome.TIED, version=version)
    ledger.finish(9, Outcome.TIED, version=version)
    return ledger


def picture(wall: tuple[int, int, int], table: tuple[int, int, int], goods: tuple[int, int, int]) -> ImageArray:
    """A table before a wall with a disc on it, (512, 512, 3)."""
    image = Image.new("RGB", (512, 512), wall)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 360, 512, 512), table)
    draw.ellipse((140, 150, 372, 430), goods)
    return np.asarray(image)


def write_made_up_run(folder: RunFolder, **changes: Any) -> None:
    """Fill `folder` with summary, metrics, ledger, gallery and configuration."""
    folder.prepare()
    write_summary(RunSummary.model_validate(make_summary_values(**changes)), folder)
    rng = np.random.default_rng(3)
    for number in range(6):
        wobble = float(rng.normal(0, 0.02))
        folder.append_metrics(
            {
                "round": number,
                "pairs": 60 - number,
                "reward_score": -4.0 + 0.11 * number + wobble,
                "relevance": 0.58 + 0.01 * number + wobble / 4,
                "kl": 0.6 * number,
                "distinct_prompts": 0.97 - 0.03 * number,
                "loss": None if number == 0 else 1.38 / number,
            }
        )
    folder.write_ledger(make_ledger().to_table())
    folder.write_text("config.yaml", "objective: pcpo\nlearner:\n  lr: 0.001\n")
    entries = []
    for number, (title, category) in enumerate(GOODS):
        goods = tuple(int(value) for value in rng.integers(60, 220, 3))
        before = folder.save_sample(f"p{number}-before", picture((160, 160, 165), (140, 140, 140), goods))
        after = folder.save_sample(f"p{number}-after", picture((190, 200, 180), (170, 120, 80), goods))
        old = GallerySide(image=before, prompt=BEFORE_PROMPT, ctr=0.019, relevance=0.51, score=-4.1)
        new = GallerySide(image=after, prompt=AFTER_PROMPT, ctr=0.025 if number else 0.018, relevance=0.66, score=-3.6)
        entries.append(GalleryEntry(product_id=f"p{number}", title=title, category=category, before=old, after=new))
    write_gallery(folder, entries)
    folder.close()


@pytest.fixture
def summary_values() -> Callable[..., dict[str, Any]]:
    """`make_summary_values`."""
    return make_summary_values


@pytest.fixture
def made_up_ledger() -> Ledger:
    """`make_ledger`."""
    return make_ledger()


@pytest.fixture
def run_folder(tmp_path: Any) -> RunFolder:
    """A prepared, empty run folder on disk."""
    folder = RunFolder(str(tmp_path), "demo")
    folder.prepare()
    return folder


@pytest.fixture
def complete_run(tmp_path: Any) -> RunFolder:
    """A run folder with everything in it."""
    folder = RunFolder(str(tmp_path), "complete")
    write_made_up_run(folder)
    return folder


RESULT_OF_GUARD = {
    "version": "0.4",
    "rounds": 4,
    "policy": "checkpoints/4/policy",
    "by": "guard",
    "why": "the guard's best version: its mean fell",
}
TURNED_GUARD = {
    "model": "nano",
    "rounds": 6,
    "best_version": 4,
    "best_score": 0.31,
    "newest_version": 5,
    "newest_score": -0.12,
    "fall": 0.43,
    "fall_se": 0.1,
    "turned": True,
    "stopped": True,
}
"""What the summary of a run that its guard stopped says of the result and the guard."""
