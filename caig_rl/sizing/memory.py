"""The records of an estimate: what one worker of a role keeps on its GPU, part by part, with the arithmetic in words."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30
RUNTIME_BYTES = int(1.2 * GIB)
"""An allowance, not an estimate: CUDA context, cuBLAS and NCCL workspaces, and what the allocator cannot use for fragmentation."""


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of memory."""

    name: str
    num_bytes: int
    how: str
    """The arithmetic, as the user reads it."""


@dataclass(frozen=True, slots=True)
class RoleMemory:
    """One worker of a role."""

    role: str
    """"learner", "policy", "renderer" or "scorer"."""
    model: str
    """Folder or architecture it was computed from."""
    parts: tuple[Part, ...]
    reserved_share: float | None = None
    """Share of the GPU that the worker takes whatever it needs (vLLM); None: what the parts add up to."""

    @property
    def needed_bytes(self) -> int:
        """What it cannot do without."""
        return sum(part.num_bytes for part in self.parts)

    def taken_bytes(self, gpu_bytes: int) -> int:
        """What it takes of a GPU of `gpu_bytes`."""
        return self.needed_bytes if self.reserved_share is None else int(self.reserved_share * gpu_bytes)

    def part(self, name: str) -> int:
        """Bytes of one part; 0 where the role has none of that name."""
        return sum(part.num_bytes for part in self.parts if part.name == name)


def in_gib(num_bytes: float) -> str:
    """ "3.4 GiB", with more digits where it is small."""
    gib = num_bytes / GIB
    return f"{gib:.1f} GiB" if gib >= 0.95 else f"{num_bytes / 2**20:.1f} MiB"


def in_count(number: int) -> str:
    """ "7.06 B", "12.3 M" parameters."""
    return f"{number / 1e9:.2f} B" if number >= 10**9 else f"{number / 1e6:.2f} M"
