"""The records of an estimate: what one worker of a role keeps on its GPU, or in main memory, part by part, with the arithmetic in words."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30
RUNTIME_BYTES = int(1.2 * GIB)
"""An allowance, not an estimate: CUDA context, cuBLAS and NCCL workspaces, and what the allocator cannot use for fragmentation."""
PROCESS_BYTES = int(0.6 * GIB)
"""An allowance for a worker without a GPU: Python, torch, Ray and their libraries, of which 0.2 to 0.3 GiB were seen right after import."""


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
    on_gpu: bool = True
    """False where the worker asks for no GPU: then all of it is main memory."""

    @property
    def where(self) -> str:
        """ "GPU memory" or "main memory"."""
        return "GPU memory" if self.on_gpu else "main memory"

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


def runtime_part(on_gpu: bool, beside: str = "CUDA context and fragmentation") -> Part:
    """The allowance for what is there before any model is; `beside` says what for, on a GPU."""
    if on_gpu:
        return Part("runtime", RUNTIME_BYTES, f"allowance for {beside}")
    return Part("runtime", PROCESS_BYTES, "allowance for Python, torch, Ray and their libraries")


def in_gib(num_bytes: float) -> str:
    """ "3.4 GiB", with more digits where it is small."""
    gib = num_bytes / GIB
    return f"{gib:.1f} GiB" if gib >= 0.95 else f"{num_bytes / 2**20:.1f} MiB"


def in_count(number: int) -> str:
    """ "7.06 B", "12.3 M" parameters."""
    return f"{number / 1e9:.2f} B" if number >= 10**9 else f"{number / 1e6:.2f} M"
