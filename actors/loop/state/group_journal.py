"""The journal of preference pairs: one Parquet file a round in the run folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from caig_rl.data.group_table import groups_to_table
from caig_rl.runs.folder import RunFolder
from caig_rl.types import PreferenceGroup


class GroupJournal:
    """Writes every pair to the run folder as it arrives, one file a round."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._rounds: dict[int, dict[int, PreferenceGroup]] = defaultdict(dict)

    def __call__(self, pairs: Sequence[PreferenceGroup]) -> None:
        """Add `pairs` and write the files of their rounds again, whole; a resumed run's pairs replace those they repeat."""
        for pair in pairs:
            self._rounds[pair.admission.round][pair.admission.admission_id] = pair
        for number in {pair.admission.round for pair in pairs}:
            rows = self._rounds[number]
            self._folder.write_pairs(number, groups_to_table([rows[key] for key in sorted(rows)]))

    def keep(self, pairs: Sequence[PreferenceGroup]) -> None:
        """Pairs of a checkpoint, which their rounds' files hold already: they stay in them when the rest of the round arrives."""
        for pair in pairs:
            self._rounds[pair.admission.round][pair.admission.admission_id] = pair

    def forget_before(self, round_number: int) -> None:
        """Rounds before this one are closed: nothing will be added to their files."""
        for number in [number for number in self._rounds if number < round_number]:
            del self._rounds[number]
