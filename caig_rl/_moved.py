"""Old module paths of the public API: for one release, imports of them go on working. One table; nothing is loaded before it is asked for.

An old path that nothing stands at any more is found by `MovedModules`, which gives the new module under both names. Where a package now has
a module's old path, the package gives the module's names by `moved_names`.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "caig_rl.evaluation.ledger": "caig_rl.runs.ledger",
    "caig_rl.evaluation.report": "caig_rl.reports.run_report",
    "caig_rl.evaluation.run_status": "caig_rl.runs.status",
    "caig_rl.evaluation.statistics": "caig_rl.statistics",
    "caig_rl.evaluation.summary": "caig_rl.runs.summary",
    "caig_rl.learning.in_memory": "caig_rl.learning.reward.in_memory",
    "caig_rl.learning.preference": "caig_rl.learning.preference.learner",
    "caig_rl.models.reward": "caig_rl.models.reward.scorer",
}
"""Old path -> new path."""


class MovedModules(MetaPathFinder, Loader):
    """Finds the modules of `MOVED` that nothing else finds."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See `importlib`."""
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the new module in the old one's place."""
        _warn(module.__name__)
        sys.modules[module.__name__] = importlib.import_module(MOVED[module.__name__])


def moved_names(package: str) -> Callable[[str], Any]:
    """`__getattr__` of a package at whose path a module was: gives the public names that the module had."""

    def name_of_module(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            found = getattr(importlib.import_module(MOVED[package]), name)
        except AttributeError:
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None
        _warn(package)
        return found

    return name_of_module


def _warn(old: str) -> None:
    warnings.warn(f"{old} is {MOVED[old]} now; the old path goes with the next release", DeprecationWarning, stacklevel=3)
