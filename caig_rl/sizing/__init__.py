"""How much memory a run needs, role by role, from the architecture of its models alone: no weights, no GPU, no cluster."""

from caig_rl.sizing.estimate import estimate
from caig_rl.sizing.memory import Part, RoleMemory
from caig_rl.sizing.placement import PlacementError, check_fit, place

__all__ = ["Part", "PlacementError", "RoleMemory", "check_fit", "estimate", "place"]
