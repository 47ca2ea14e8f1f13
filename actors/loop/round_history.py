"""The finished rounds of a run: what `metrics.jsonl`, the summary and a checkpoint say of each."""

from __future__ import annotations

import json
from typing import Any

from caig_rl.errors import UserError
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import RoundDetail


class RoundHistory:
    """One row a finished round, in order."""

    def __init__(self, folder: RunFolder) -> None:
        """`folder`: where `metrics.jsonl` is."""
        self._folder = folder
        self.details: list[RoundDetail] = []

    def add(self, detail: RoundDetail) -> None:
        """A round ended: keep its row, and append it to the file."""
        self.details.append(detail)
        self._folder.append_metrics(detail.model_dump(mode="json"))

    def rewrite_file(self) -> None:
        """Write the file anew with the rounds that count: rows of rounds that a resume runs again go."""
        rows = [json.dumps(row, allow_nan=False) + "\n" for row in self.to_json()]
        self._folder.write_text("metrics.jsonl", "".join(rows))

    def to_json(self) -> list[dict[str, Any]]:
        """For a checkpoint."""
        return [detail.model_dump(mode="json") for detail in self.details]

    def restore(self, rows: list[dict[str, Any]]) -> None:
        """Go on from what `to_json` gave."""
        self.details = [RoundDetail.model_validate(row) for row in rows]


def rounds_written(folder: RunFolder) -> set[int]:
    """Numbers of the rounds that `metrics.jsonl` holds."""
    try:
        return {int(str(row["round"])) for row in folder.read_metrics()}
    except UserError:  # damaged: the checkpoint has the rounds, and `RoundHistory.rewrite_file` is about to mend the file
        return set()
