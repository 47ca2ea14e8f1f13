"""`docs/sizing.md`, made from the shipped configs: `python -m caig_rl.sizing.page docs/sizing.md`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.sizing.estimate import estimate
from caig_rl.sizing.memory import GIB, RoleMemory
from caig_rl.sizing.placement import place

_INTRO = """# Sizing

Made by `python -m caig_rl.sizing.page docs/sizing.md`; `caig-rl train CONFIG --dry-run` prints the same for any config (main memory,
added up, for workers without a GPU), and refuses one that does not fit on its GPUs, with the arithmetic.

Weights are counted on the model itself and activations by its own forward and backward pass, both without memory behind them (torch's meta
device). On a CPU, with these architectures shrunk, a real DeepSpeed step was within 10 % of the estimate for ZeRO 0 to 3, LoRA and full
fine-tuning (`tests/sizing/test_learner.py`). **No figure here was measured on a GPU**: `runtime` and `cuda graphs` are allowances, and vLLM
takes its whole `policy.gpu_memory_utilization`, of which the table shows the least it can do with.

The largest part is most often the learner's activations, which grow with `learner.micro_batch_size` x `policy.max_model_len`: lower the
first, raise the number of micro-batches (they add up to `learner.batch_size`), and the result is the same.
"""


_MEASURED = """
## Against a real step

Written by `python benchmarks/sizing.py`: one optimiser step of one rank on a CPU, of these architectures with a million or two
random parameters, in MiB. `rest` is what a step holds beyond the weights: optimiser states, gradients and activations. DeepSpeed's gradient
bucket, a constant that would drown it, is left out on both sides.

| architecture | ZeRO | precision | fine-tuning | parameters: estimate | measured | rest: estimate | measured | off by |
| --- | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |
"""


def sizing_page(configs: list[Path], measured: list[dict[str, Any]]) -> str:
    """The page for the configs that ask for GPUs, and what `benchmarks/sizing.py` measured (see `measurements`)."""
    sections = "".join(_section(path, load_config(path)) for path in configs)
    table = _MEASURED + "".join(f"| {' | '.join(_measured_cells(row))} |\n" for row in measured)
    return _INTRO + sections + (table if measured else "")


def measurements(repository: Path) -> list[dict[str, Any]]:
    """The rows of `benchmarks/sizing.json`; none before the first measurement."""
    file = repository / "benchmarks" / "sizing.json"
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return found


def _measured_cells(row: dict[str, Any]) -> list[str]:
    estimated, measured = row["estimated"], row["measured"]
    rest = sum(estimated.values()) - estimated["parameters"]
    what = [row["architecture"], str(row["zero_stage"]), row["dtype"], row["finetune"]]
    sizes = [estimated["parameters"], measured["parameters"], rest, measured["rest"]]
    return [*what, *(f"{size / 2**20:.2f}" for size in sizes), f"{measured['rest'] / rest - 1:+.1%}"]


def _section(path: Path, config: Config) -> str:
    memory, gpus = estimate(config), place(config)
    cluster = config.cluster
    assert cluster.gpu_memory_gib is not None
    lines = [f"\n## configs/{path.name}\n", f"{cluster.gpus} GPU(s) of {cluster.gpu_memory_gib:g} GiB.\n"]
    lines += ["| worker | " + " | ".join(_columns(memory)) + " | least, GiB |", "| --- |" + " ---: |" * (len(_columns(memory)) + 1)]
    for role in memory.values():
        cells = [f"{role.part(name) / GIB:.1f}" if role.part(name) else "" for name in _columns(memory)]
        lines.append(f"| {role.role} ({role.model}) | " + " | ".join(cells) + f" | {role.needed_bytes / GIB:.1f} |")
    lines += ["", "| GPU | workers | taken, GiB |", "| ---: | --- | ---: |"]
    size = int(cluster.gpu_memory_gib * GIB)
    lines += [f"| {i} | {gpu.counted() or 'free'} | {gpu.taken_bytes(memory, size) / GIB:.1f} |" for i, gpu in enumerate(gpus)]
    return "\n".join(lines) + "\n"


def _columns(memory: dict[str, RoleMemory]) -> list[str]:
    return list(dict.fromkeys(part.name for role in memory.values() for part in role.parts))


def gpu_configs(folder: Path) -> list[Path]:
    """The configs in `folder` that name the memory of their GPUs. Ablations (`ablate*.yaml`) are files of another form."""
    runs = [path for path in sorted(folder.glob("*.yaml")) if not path.stem.startswith("ablate")]
    return [path for path in runs if load_config(path).cluster.gpu_memory_gib is not None]


if __name__ == "__main__":
    target = Path(sys.argv[1])
    root = target.resolve().parents[1]
    target.write_text(sizing_page(gpu_configs(root / "configs"), measurements(root)), encoding="utf-8")
