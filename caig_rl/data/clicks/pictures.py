"""Pictures of a click log that cannot be used: counted by reason, and a stop only where they are too many."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from caig_rl.data.clicks.dataset import ClickDataset, PictureRefused
from caig_rl.errors import ClickLogError
from caig_rl.types import ImageArray


@dataclass(slots=True)
class PictureFaults:
    """Reads creatives' pictures, and keeps count of those that cannot be."""

    read: int = 0
    """Creatives whose picture was asked for."""
    counts: Counter[str] = field(default_factory=Counter)
    """Reason -> creatives without a usable picture."""
    examples: dict[str, str] = field(default_factory=dict)
    """Reason -> the first message."""
    tests_lost: int = 0
    """Tests left out, because fewer than two of their creatives have a picture."""

    def picture(self, data: ClickDataset, row: int) -> ImageArray | None:
        """The picture of a creative, (height, width, 3); None, and counted, where there is none to use."""
        self.read += 1
        try:
            return data.image(row)
        except PictureRefused as refusal:
            self.counts[refusal.reason] += 1
            self.examples.setdefault(refusal.reason, str(refusal))
            return None

    def lines(self) -> list[str]:
        """What a person should know of it, a line a reason; empty where every picture could be read."""
        lines = [f"{reason} {count}, for example {self.examples[reason]}" for reason, count in self.counts.most_common()]
        if self.tests_lost:
            lines.append(f"{self.tests_lost} tests left out: fewer than two of their creatives have a picture that can be used")
        return lines

    def check(self, max_faulty_share: float) -> None:
        """Raise ClickLogError where more than `max_faulty_share` of the pictures cannot be used."""
        faulty = self.counts.total()
        if faulty > max_faulty_share * self.read:
            told = "\n".join(f"  {line}" for line in self.lines())
            raise ClickLogError(
                f"{faulty} of {self.read} pictures cannot be used, more than clicks.max_faulty_share ({max_faulty_share:.0%}):\n{told}"
            )


def readable_pairs(data: ClickDataset, faults: PictureFaults) -> ClickDataset:
    """`data` with those of its pairs whose two pictures can be used; each picture is read once to see it.

    Raises:
        ClickLogError: there is no such pair.
    """
    rows = np.unique(np.concatenate([data.first, data.second]))
    good = rows[[faults.picture(data, int(row)) is not None for row in rows]]
    kept = np.isin(data.first, good) & np.isin(data.second, good)
    if not kept.any():
        raise ClickLogError("no pair has two pictures that can be used: " + "; ".join(faults.lines()))
    return dataclasses.replace(data, pairs=data.pairs.filter(pa.array(kept)), first=data.first[kept], second=data.second[kept])
