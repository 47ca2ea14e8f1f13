"""The learner's memory as `--dry-run` estimates it, against a real step on this machine's CPU: the production architectures, shrunk.

python benchmarks/sizing.py        writes benchmarks/sizing.json, which docs/sizing.md shows; a minute on two cores
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the shrunk architectures are the tests' own

from caig_rl.sizing.learner import bucket_bytes, learner_memory  # noqa: E402
from tests.sizing.cases import CASES, case_config  # noqa: E402
from tests.sizing.measured import measure_learner  # noqa: E402
from tests.sizing.shrunk import shrunk  # noqa: E402


def main() -> None:
    """Each case in a process of its own: what is measured is every tensor of a process."""
    rows = []
    for name, stage, dtype, finetune in CASES:
        settings = case_config(stage, dtype, finetune)
        estimated = learner_memory(settings, shrunk(name), name)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            measured = pool.submit(measure_learner, settings, shrunk(name)).result()
        # ZeRO 3 keeps its gradient bucket between steps, ZeRO 1 and 2 only within one; it is a constant, and would drown the rest.
        beyond = measured.optimiser + measured.step_peak - bucket_bytes(settings.learner)
        rows.append(
            {
                "architecture": name,
                "zero_stage": stage,
                "dtype": dtype,
                "finetune": finetune,
                "estimated": {part: estimated.part(part) for part in ("parameters", "optimiser", "gradients", "activations")},
                "measured": {"parameters": measured.parameters, "rest": beyond},
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    (ROOT / "benchmarks" / "sizing.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
