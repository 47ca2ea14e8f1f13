"""How fast, and in how much memory, `caig-rl data pairs` reads a large click log: `python benchmarks/click_log.py --rows 10000000`.

Writes a synthetic log of events (one row an impression; product, creative, clicks, propensity), then reads it in a process of its own, and
prints rows a second and that process's peak memory. Nothing is kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

CHUNK = 500_000
CREATIVES = 5
"""Creatives a product."""


def main() -> None:
    """Write, read, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--kind", choices=["parquet", "csv", "jsonl"], default="parquet")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        _read(arguments.read)
        return
    with tempfile.TemporaryDirectory(prefix="caig-rl-bench-") as folder:
        log = Path(folder) / f"events.{arguments.kind}"
        _write(log, arguments.rows, arguments.products)
        print(f"{arguments.rows:,} events of {arguments.products:,} products, {log.stat().st_size / 2**20:,.0f} MiB as {arguments.kind}")
        subprocess.run([sys.executable, __file__, "--read", str(log)], check=True)


def _write(path: Path, rows: int, products: int) -> None:
    rng = np.random.default_rng(0)
    writer = None
    sink = None if path.suffix == ".parquet" else path.open("wb")
    for start in range(0, rows, CHUNK):
        size = min(CHUNK, rows - start)
        product, creative = rng.integers(0, products, size), rng.integers(0, CREATIVES, size)
        names = np.char.add("product-", product.astype(str))
        table = pa.table(
            {
                "product_id": names,
                "creative_id": np.char.add(np.char.add(names, "-"), creative.astype(str)),
                "clicks": (rng.random(size) < 0.02 + 0.005 * creative).astype(np.int8),
                "propensity": np.full(size, 1.0 / CREATIVES),
            }
        )
        if path.suffix == ".parquet":
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
        elif path.suffix == ".csv":
            pacsv.write_csv(table, sink, pacsv.WriteOptions(include_header=start == 0))
        else:
            sink.write("".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode())
    for file in (writer, sink):
        if file is not None:
            file.close()


def _read(path: Path) -> None:
    from caig_rl.config.reward import ClicksConfig
    from caig_rl.data.clicks.pipeline import make_pair_files

    before = _peak_gib()
    start = time.perf_counter()
    summary = make_pair_files(ClicksConfig(path=str(path), form="events", min_impressions=20, out=str(path.parent / "out")))
    seconds = time.perf_counter() - start
    rows = summary.count("rows_read")
    print(f"{rows:,} rows in {seconds:.1f} s: {rows / seconds:,.0f} rows/s; peak memory {_peak_gib():.2f} GiB, {before:.2f} at start")
    print("; ".join(f"{step.name} {step.count:,}" for step in summary.steps))


def _peak_gib() -> float:
    # Not getrusage: its peak includes the parent's, from before this process became itself.
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 2**20


if __name__ == "__main__":
    main()
