"""Small ablations, and cells that were never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from caig_rl.ablation.cells import Cell, Plan, make_plan
from caig_rl.ablation.config import load_ablation
from caig_rl.ablation.records import CellRecord, Measured, make_record
from caig_rl.ablation.training_curve import CurvePoint
from caig_rl.config.load import config_yaml
from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy
from caig_rl.runs.gallery import GalleryEntry, GallerySide, write_gallery

TEXT = """
base: base.yaml
seeds: [0, 1]
compare: ours
overrides: [evaluation.bootstrap=100]
arms:
  two: {kind: best_of_n, n: 2}
  ours-of-3: {kind: best_of_n, n: 3, of: ours}
  ours: {about: "The <one> to beat.", overrides: [objective=dpo, learner.lr=0.01]}
  chance: {overrides: [objective=dpo, reward.kind=random]}
"""
WORLDS = """
base: base.yaml
seeds: [0, 1]
compare: ours
overrides: [evaluation.bootstrap=100]
arms:
  ours: {overrides: [objective=dpo]}
  bound: {overrides: [objective=dpo, reward.kind=world]}
  no-trap: {overrides: [objective=dpo, world.trap=false]}
  ours-w1: {overrides: [objective=dpo, world.seed=1]}
  dpo-w1: {overrides: [objective=dpo, world.seed=1, learner.lr=0.1], compare: ours-w1}
"""
"""Arms of three worlds."""
RECIPES = """
base: base.yaml
seeds: [0, 1]
compare: ours
rewards:
  vam: {overrides: [reward.train.form=vam, reward.train.lr=1e-3], products: 50}
  scorer: {}
arms:
  ours: {overrides: [objective=dpo], reward: vam}
  best: {kind: best_of_n, n: 2, reward: vam}
  no-trap: {overrides: [objective=dpo, world.trap=false], reward: scorer}
  elsewhere: {overrides: [objective=dpo, world.seed=1], reward: scorer}
  elsewhere-best: {kind: best_of_n, n: 2, overrides: [world.seed=1], reward: scorer}
  as-base: {overrides: [objective=dpo]}
"""
"""Arms whose reward models the ablation makes."""
PRODUCTS = ("a", "b", "c", "d")


def make_file(folder: Path, text: str = TEXT) -> Path:
    """`ab.yaml` beside its base."""
    (folder / "base.yaml").write_text(f"run: {{root: {folder}/runs}}\nrollout: {{rounds: 2, products_per_round: 10, candidates: 4}}\n")
    (folder / "ab.yaml").write_text(text)
    return folder / "ab.yaml"


def a_plan(folder: Path, *overrides: str, text: str = TEXT, **chosen: Any) -> Plan:
    """Of `TEXT`."""
    return make_plan(load_ablation(make_file(folder, text)), overrides, **chosen)


def policy(*ctrs: float, relevance: float = 0.5) -> EvaluatedPolicy:
    """One prompt a product, of these CTRs."""
    column = np.array(ctrs)[:, None]
    names = PRODUCTS[: len(ctrs)]
    return EvaluatedPolicy(names, tuple((f"on {name}",) for name in names), column * 0, column, np.full_like(column, relevance))


def record(cell: Cell, *after: float, before: float = 0.02, **run: Any) -> CellRecord:
    """Of a cell whose products had `before` and ended with `after`; the best known prompts have 0.04."""
    initial = policy(*[before] * len(after))
    if cell.arm.kind == "train":
        run = {"painted": 80, "curve": (CurvePoint(0, 0.02), CurvePoint(40, 0.03)), "rounds": 2, "kl": 1.5} | run
    ceilings = dict.fromkeys(initial.product_ids, 0.04)
    return make_record(cell, Measured(initial, policy(*after, relevance=0.75), ceilings), 60.0, **run)


def leave_files(plan: Plan, cell: Cell) -> None:
    """What a cell's own run leaves beside its record."""
    folder = plan.cell_folder(cell.name)
    folder.write_text("config.yaml", config_yaml(cell.config))
    entries = []
    for number, name in enumerate(PRODUCTS[:2]):
        sides = []
        for what in ("before", "after"):
            grey = np.full((32, 32, 3), 60 + 50 * number, np.uint8)
            image = folder.save_sample(f"{what}-{number:03d}", grey)
            sides.append(GallerySide(image=image, prompt="on oak", ctr=0.02, relevance=0.5, score=0.0))
        entries.append(GalleryEntry(product_id=name, title=f"Mug <{name}>", category="mugs", before=sides[0], after=sides[1]))
    write_gallery(folder, entries)
