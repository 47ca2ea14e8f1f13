"""Small logs to test with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from caig_rl.config.reward import ClicksConfig


def clicks_config(path: Path, **settings: Any) -> ClicksConfig:
    return ClicksConfig(path=str(path), out=str(path.parent / "out"), **settings)


def arms_table(test: list[str], impressions: list[float], **more: list[float]) -> pa.Table:
    """As `ArmTotals` makes it, for checks on arms alone."""
    names = [f"c{index}" for index in range(len(test))]
    columns: dict[str, Any] = {"test": test, "product": test, "creative": names, "arm": names, "impressions": impressions}
    if "weight" in more and "squared_weight" not in more:  # as propensities that stand still would give
        more["squared_weight"] = [w * w / n if n else 0.0 for w, n in zip(more["weight"], impressions, strict=True)]
    return pa.table(columns | more)


def write_synthetic_log(path: Path, num_products: int = 60, creatives: int = 4, impressions: int = 4000, seed: int = 0) -> Path:
    """Products of different strength whose creatives truly differ; traffic split at random in equal shares."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[Any]] = {"product": [], "creative": [], "impressions": [], "clicks": []}
    for product in range(num_products):
        rates = 0.03 * np.exp(rng.normal(0.0, 0.3)) * np.exp(rng.normal(0.0, 0.3, creatives))
        shown = rng.multinomial(impressions * creatives, np.full(creatives, 1 / creatives))
        for creative in range(creatives):
            values = (f"p{product}", f"p{product}-c{creative}", int(shown[creative]), int(rng.binomial(shown[creative], rates[creative])))
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
    pq.write_table(pa.table(rows), path)
    return path
