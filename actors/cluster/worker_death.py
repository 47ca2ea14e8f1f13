"""What Ray's errors say of a worker that died."""

from __future__ import annotations

import ray
from ray.exceptions import RayActorError


def went_with_its_node(error: RayActorError) -> bool:
    """True where the whole node went away. A worker that never answered is on no node that we know of, and Ray says this in words only."""
    return error.preempted or "node has died" in str(error) or "node was terminated" in str(error)


def is_gone(node: str) -> bool:
    """True where Ray counts the node of this id as dead."""
    return any(one["NodeID"] == node and not one["Alive"] for one in ray.nodes())


def first_line(error: BaseException) -> str:
    """The first line of the message, or the error's kind."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
