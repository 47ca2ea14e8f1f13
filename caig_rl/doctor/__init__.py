"""Looks at the machine and the installation, and says in words what is wrong and what to do."""

from caig_rl.doctor.check import Check, Status
from caig_rl.doctor.run import run_checks

__all__ = ["Check", "Status", "run_checks"]
