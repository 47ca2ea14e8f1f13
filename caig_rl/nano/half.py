"""Embedded weights in half precision: half the package, and rounding far below what the models know."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file


def store_in_half(folder: Path) -> None:
    """Write the safetensors files of a model folder again in half precision. Who loads them asks for float32, and computes in it."""
    for file in folder.glob("*.safetensors"):
        save_file({name: value.half() for name, value in load_file(file).items()}, file, {"format": "pt"})
