"""The pictures of other products that product-centric negatives take: loaded for the learner, none of them kept between rounds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from ray import ObjectRef
from ray.exceptions import RayError

from actors.cluster.task_errors import one_line
from caig_rl.types import NegativeKind, PreferenceGroup

logger = logging.getLogger(__name__)

Load = Callable[[Sequence[str]], Awaitable[ObjectRef]]
"""The policy's pictures of these products as one block, once it is there. Raises RayError where one of them cannot be loaded."""


@dataclass(frozen=True, slots=True)
class NegativePictures:
    """The groups of a round, and where the pictures are that their negatives take."""

    groups: list[PreferenceGroup]
    """As they were, but with a masked picture where the other product's could not be loaded."""
    blocks: list[ObjectRef]
    places: list[tuple[int, int] | None]
    """For each group, which of `blocks` holds the picture, and at which index; None where its negative takes none."""


async def load_negative_pictures(groups: Sequence[PreferenceGroup], load: Load, block_size: int) -> NegativePictures:
    """Load each picture once, at most `block_size` products a block."""
    wanted = sorted({group.negative_product_id for group in groups if group.takes_other_picture})
    parts = [wanted[start : start + block_size] for start in range(0, len(wanted), block_size)]
    loaded = [block for blocks in await asyncio.gather(*(_load(part, load) for part in parts)) for block in blocks]
    found = {product_id: (number, row) for number, (ids, _) in enumerate(loaded) for row, product_id in enumerate(ids)}
    kept = [_masked(group) if group.takes_other_picture and group.negative_product_id not in found else group for group in groups]
    places = [found[group.negative_product_id] if group.takes_other_picture else None for group in kept]
    return NegativePictures(kept, [block for _, block in loaded], places)


async def _load(product_ids: Sequence[str], load: Load) -> list[tuple[Sequence[str], ObjectRef]]:
    """The products in one block, or each in its own where one of them cannot be loaded."""
    try:
        return [(product_ids, await load(product_ids))]
    except RayError as error:  # one product whose picture cannot be read must not cost the round
        if len(product_ids) == 1:
            logger.warning("no picture of product %s for a negative, which is masked instead: %s", product_ids[0], one_line(error))
            return []
    singles = await asyncio.gather(*(_load([one], load) for one in product_ids))
    return [block for single in singles for block in single]


def _masked(group: PreferenceGroup) -> PreferenceGroup:
    return replace(group, negative=NegativeKind.MASKED_IMAGE, negative_product_id="")
