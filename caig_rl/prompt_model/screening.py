"""More prompts are written than painted: which of them are painted. Writing costs a hundredth of painting.

"first" takes them as written, "best" takes the highest by the model's mean, "thompson" by one draw of its posterior (Thompson 1933), so
that what is uncertain is tried too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from caig_rl.prompt_model.effects import PromptEffects
from caig_rl.prompt_model.model import PromptModel
from caig_rl.types import Product

FloatArray = npt.NDArray[np.float64]
Screening = Literal["first", "best", "thompson"]


def screen(
    method: Screening,
    model: PromptModel,
    product: Product,
    texts: Sequence[str],
    count: int,
    product_share: float,
    rng: np.random.Generator,
) -> list[int]:
    """Indices of the `count` prompts to paint, best first; all of them where fewer are written. The same text twice is chosen last.

    A model that is not trusted (see `PromptModel.trusted`) is not asked: the first prompts are taken.

    Args:
        method: how to choose.
        model: the run's prompt model.
        product: whom the prompts are for.
        texts: M written prompts.
        count: K, at least 1.
        product_share: c, 0 to 1: a prompt counts value(product) - c * value(any product).
        rng: drawn from by "thompson" only; derive it from the admission's seed, so that the order of admissions does not matter.

    Raises:
        ValueError: an unknown method, `count` below 1, or a share outside 0 to 1.
    """
    if method not in ("first", "best", "thompson"):
        raise ValueError(f"screening must be first, best or thompson, not {method!r}")
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    if method == "first" or not model.trusted:
        return ranked_distinct(texts, np.zeros(len(texts)))[:count]
    effects = model.draw(rng) if method == "thompson" else model.effects()
    return ranked_distinct(texts, centred_values(effects, product, texts, product_share))[:count]


def centred_values(effects: PromptEffects, product: Product, texts: Sequence[str], product_share: float) -> FloatArray:
    """(M,) value(product) - c * value(any product), log-odds; c = `product_share`. Raises ValueError for a share outside 0 to 1."""
    if not 0.0 <= product_share <= 1.0:
        raise ValueError(f"product_share must lie in 0 to 1, not {product_share}")
    return effects.value(product, texts) - product_share * effects.value_to_any(texts)


def ranked_distinct(texts: Sequence[str], values: FloatArray) -> list[int]:
    """All indices by falling value, equal values as written; repetitions of a text (case and spaces apart) after all first occurrences."""
    first: dict[str, int] = {}
    for index, text in enumerate(texts):
        first.setdefault(" ".join(text.split()).casefold(), index)
    originals = set(first.values())
    return sorted(range(len(texts)), key=lambda index: (index not in originals, -values[index], index))
