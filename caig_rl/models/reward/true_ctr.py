"""The traffic's own true CTR as a reward model: the bound that no trained one can pass. Only a simulated judge can be asked for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from caig_rl.interfaces import Judge
from caig_rl.models.reward.interface import check_finite, check_lengths
from caig_rl.types import ImageArray, Product


class TrueCtrReward:
    """Scores a creative by what `judge` knows of it: log-odds of its true CTR."""

    kind = "world"

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def score(self, products: Sequence[Product], creatives: Sequence[ImageArray], batch_size: int = 64) -> npt.NDArray[np.float32]:
        """(N,) log(p / (1 - p)) of the true CTR p of `creatives[i]`, (size, size, 3) of any size, as an ad for `products[i]`.

        Raises:
            RewardError: a CTR of 0 or 1, which has no log-odds.
            ValueError: as many products as creatives are needed.
        """
        check_lengths(products, creatives)
        ctrs = np.empty(len(creatives))
        for start in range(0, len(creatives), batch_size):
            part = slice(start, start + batch_size)
            ctrs[part] = [judged.ctr for judged in self._judge.judge(products[part], creatives[part])]
        with np.errstate(divide="ignore"):
            return check_finite((np.log(ctrs) - np.log1p(-ctrs)).astype(np.float32), products)

    def compare(
        self, products: Sequence[Product], firsts: Sequence[ImageArray], seconds: Sequence[ImageArray], batch_size: int = 64
    ) -> npt.NDArray[np.float32]:
        """(M,) differences of the log-odds of a click, first less second; see `score` for what it raises."""
        return self.score(products, firsts, batch_size) - self.score(products, seconds, batch_size)
