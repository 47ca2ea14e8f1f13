"""Imported before everything else of the command line, for its effect: a run that is told to end while modules load ends as it should."""

from __future__ import annotations

import sys

from actors.launch.sigterm import SIGTERM_STOP

RUNS = ("train", "chaos")
"""The commands that a job controller starts, and starts again on exit code 75."""

if next((word for word in sys.argv[1:] if not word.startswith("-")), "") in RUNS:
    SIGTERM_STOP.begin()
