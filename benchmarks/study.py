"""Does it learn, and is it no trick? Trains every arm on every seed, evaluates each run on held-out products, prints intervals.

    python benchmarks/study.py --seeds 0 1 2 3 4 --arms pcpo pcpo-random dpo-random no-learning

A run that is finished is not run again, so the study can be stopped and gone on with. Runs lie in runs/study.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from caig_rl.statistics import paired_interval, t_interval

ARMS: dict[str, list[str]] = {
    "pcpo": ["objective=pcpo"],
    "dpo": ["objective=dpo"],
    "pcpo-random": ["objective=pcpo", "reward.kind=random"],
    "dpo-random": ["objective=dpo", "reward.kind=random"],
    "no-learning": ["learner.lr=0"],
}
ROOT = Path("runs/study")
CAIG = str(Path(sys.executable).with_name("caig-rl"))


def run_arm(arm: str, seed: int, extra: list[str]) -> dict:
    """Train and evaluate one run, unless it is there; returns its evaluation."""
    name = f"{arm}-seed{seed}"
    result = ROOT / name / "evaluation.json"
    if not result.exists():
        shared = [f"run.root={ROOT}", f"run.name={name}", f"run.seed={seed}", "evaluation.products=16", "evaluation.gallery=4"]
        begun = ["--resume"] if list((ROOT / name).glob("checkpoints/*/manifest.json")) else []
        subprocess.run([CAIG, "train", "configs/demo.yaml", *begun, *shared, *ARMS[arm], *extra], check=True)
        subprocess.run([CAIG, "evaluate", "policy", str(ROOT / name)], check=True)
    return json.loads(result.read_text(encoding="utf-8"))


def main() -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=["pcpo"], choices=list(ARMS))
    parser.add_argument("--set", nargs="*", default=[], help="overrides for every run")
    options = parser.parse_args()
    results = {arm: [run_arm(arm, seed, options.set) for seed in options.seeds] for arm in options.arms}
    print(f"{'arm':14} {'seed':>4} {'initial':>8} {'final':>8} {'lift':>8} {'95 % interval':>18} {'relevance':>18}")
    for arm, rows in results.items():
        for seed, row in zip(options.seeds, rows, strict=True):
            ctr, relevance = row["ctr"], row["relevance"]
            interval = f"{ctr['ci95'][0]:+.1%} to {ctr['ci95'][1]:+.1%}"
            change = f"{relevance['initial']:.3f} -> {relevance['final']:.3f}"
            print(f"{arm:14} {seed:>4} {ctr['initial']:8.3%} {ctr['final']:8.3%} {ctr['lift']:+8.1%} {interval:>18} {change:>18}")
        lifts = [row["ctr"]["lift"] for row in rows]
        if len(lifts) > 1:
            low, high = t_interval(lifts)
            print(f"{arm:14} mean lift over {len(lifts)} seeds {np.mean(lifts):+.1%}, 95 % t-interval {low:+.1%} to {high:+.1%}")
    if {"pcpo", "pcpo-random"} <= results.keys() and len(options.seeds) > 1:
        low, high = paired_interval(*([row["ctr"]["lift"] for row in results[arm]] for arm in ("pcpo-random", "pcpo")))
        print(f"true reward minus random reward, same seeds and products: 95 % paired interval {low:+.1%} to {high:+.1%}")


if __name__ == "__main__":
    main()
