"""Which of a run's checkpoints holds its result: for whoever measures, serves or picks from a run's policy."""

from __future__ import annotations

from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import read_summary


def result_step(folder: RunFolder) -> int | None:
    """The step of the checkpoint that `result` of the summary names; None where the run is not done, or its newest policy is all there is.

    Raises:
        UserError: the summary is damaged.
    """
    if not folder.exists("summary.json"):
        return None
    summary = read_summary(folder)
    return summary.result.rounds if summary.status == "done" and summary.result is not None else None
