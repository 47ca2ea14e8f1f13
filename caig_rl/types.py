"""The records that travel between stages. Shapes and units are given here; logic lives elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import isnan

import numpy as np
import numpy.typing as npt

ImageArray = npt.NDArray[np.uint8]
"""(height, width, 3) sRGB, 0-255; cut-outs are (height, width, 4) with straight alpha."""


class Outcome(StrEnum):
    """How an admission ends. Every admission ends in exactly one."""

    TRAINED = "trained"
    FAILED = "failed"
    EXPIRED = "expired"
    TIED = "tied"


class NegativeKind(StrEnum):
    """Which product information is replaced in the product-centric negative x~ (METHOD, stage C). Values are the names in
    `learner.negatives`; "masked_image" and "other_text" of earlier journals are read as the first two."""

    MASKED_IMAGE = "mask"
    """Most of the picture is black."""
    OTHER_TEXT = "mismatch"
    """The text is that of a product of another category."""
    OTHER_PICTURE = "picture"
    """The picture is that of a product of another category."""
    HARD = "hard"
    """Text or picture, half each, of the product of another category with the most similar title."""

    @classmethod
    def _missing_(cls, value: object) -> NegativeKind | None:
        return {"masked_image": cls.MASKED_IMAGE, "other_text": cls.OTHER_TEXT}.get(str(value))


@dataclass(frozen=True, slots=True, order=True)
class PolicyVersion:
    """A set of policy weights. `incarnation` grows when the learner rolls back to a checkpoint, `number` with each round."""

    incarnation: int
    number: int

    def __str__(self) -> str:
        return f"{self.incarnation}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> PolicyVersion:
        """What `str` wrote. Raises ValueError on anything else."""
        incarnation, number = text.split(".")
        return cls(int(incarnation), int(number))


@dataclass(frozen=True, slots=True)
class Product:
    """What the merchant says of a product. Its pixels are a `Cutout`, loaded apart and never held by the controller."""

    product_id: str
    title: str
    category: str
    description: str = ""
    source: str = ""
    """Where it was read, for messages: "products.csv row 12"."""
    unseen_category: bool = field(default=False, repr=False, compare=False, kw_only=True)
    """True where no product of its category is trained on; the evaluation then counts it apart. Neither shown nor compared: it is no part
    of what the product is."""
    segment: str = field(default="", repr=False, kw_only=True)
    """The segment of shoppers that it is shown to, which instruction, reward and judge go by; empty: to everybody."""

    def shown_to(self, segment: str) -> Product:
        """The same product for the shoppers of `segment`; empty: for everybody."""
        return self if segment == self.segment else replace(self, segment=segment)


@dataclass(frozen=True, slots=True)
class Cutout:
    """A product freed from its ground."""

    rgba: ImageArray
    """(height, width, 4); alpha 0 outside the product. Colour under alpha 0 has no meaning."""
    confidence: float
    """0-1: how sure we are of the mask. 1 where the file brought its own alpha."""
    method: str
    """"alpha" or "plain_ground"."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A catalog row that never became a product."""

    where: str
    reason: str
    """A short code, for counting: "image_missing"."""
    message: str
    """What, where, and what to do."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something about a catalog that was read all the same."""

    where: str
    reason: str
    """A short code, for counting: "title_shortened"."""
    message: str


@dataclass(frozen=True, slots=True)
class Admission:
    """One product in one round: the unit of accounting."""

    admission_id: int
    """Unique in a run, rising in order of admission."""
    round: int
    product_id: str
    seed: int
    """Drawn from the run's seed and the admission id; policy sampling, diffusion noise and negatives derive from it."""
    segment: str = ""
    """The segment of shoppers that the product is shown to; empty: to everybody."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One background prompt, as the policy sampled it."""

    text: str
    token_ids: tuple[int, ...]
    """The answer's tokens, end token included where the policy wrote it."""
    logprobs: tuple[float, ...]
    """Natural-log probability of each token under the sampling policy, at temperature 1."""


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """The K prompts of one admission."""

    admission: Admission
    version: PolicyVersion
    instruction: str
    """The user's turn the policy answered, without image placeholder or chat template."""
    rollouts: tuple[Rollout, ...]


@dataclass(frozen=True, slots=True)
class RenderReport:
    """What the usability gate says of one creative. The pixels travel apart."""

    usable: bool
    reason: str = ""
    """Empty when usable; else "product_changed", "product_extended" or "blank"."""
    product_difference: int = 0
    """Largest difference (grey levels) between the creative and the product inside its eroded mask."""


@dataclass(frozen=True, slots=True)
class PreferenceGroup:
    """The K scored answers of one admission, with all that is needed to learn from them again. At least two are usable."""

    admission: Admission
    version: PolicyVersion
    instruction: str
    candidates: tuple[Rollout, ...]
    """K answers, in the order in which they were painted."""
    scores: tuple[float, ...]
    """K scores in log-odds of a click (the side-by-side judge: log-odds of winning); NaN where the gate refused the creative."""
    negative: NegativeKind
    negative_seed: int
    """Seed of the patch mask."""
    negative_product_id: str = ""
    """The other product; empty for a masked picture."""
    negative_instruction: str = ""
    """The instruction about the other product, same wording; empty where the picture is what is replaced."""
    shaped: tuple[float, ...] = field(default=())
    """K shaped rewards, what the objective learns from; NaN where not usable. Empty before shaping: then the scores count."""
    guard_scores: tuple[float, ...] = field(default=())
    """K scores by the guard, log-odds of a click, which nothing is learned from; NaN where it gave none. Empty without a guard."""

    @property
    def rewards(self) -> tuple[float, ...]:
        """K rewards that count: shaped ones where there are any. NaN where not usable."""
        return self.shaped or self.scores

    @property
    def takes_other_picture(self) -> bool:
        """True where x~ shows the other product's picture under the own text."""
        return bool(self.negative_product_id) and not self.negative_instruction

    @property
    def usable(self) -> tuple[int, ...]:
        """Indices of the candidates that passed the usability gate."""
        return tuple(index for index, score in enumerate(self.scores) if not isnan(score))

    @property
    def best(self) -> int:
        """Index of the usable candidate of highest reward, the first of equals."""
        return max(self.usable, key=lambda index: (self.rewards[index], -index))

    @property
    def worst(self) -> int:
        """Index of the usable candidate of lowest reward, the first of equals."""
        return min(self.usable, key=lambda index: (self.rewards[index], index))

    @property
    def chosen(self) -> Rollout:
        """The best candidate's answer."""
        return self.candidates[self.best]

    @property
    def rejected(self) -> Rollout:
        """The worst usable candidate's answer."""
        return self.candidates[self.worst]


@dataclass(frozen=True, slots=True)
class PromptCheck:
    """What is to be said of one prompt without painting it."""

    malformed: bool
    """True where it is no usable description of a background."""
    trap: bool | None
    """True where it asks for a showy background that suits no product; None where nobody knows what such a background is."""
    attributes: tuple[str | None, ...]
    """What it asks for. Where `trap` is known: the phrase at each of the world's fixed places, None where there is none or more than one.
    Elsewhere: its parts between commas, as many as there are."""
    background: str | None = None
    """The attribute that makes the background; None where that is not known, and all attributes together count."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the traffic thinks of one creative."""

    ctr: float
    """True click-through rate, a fraction of impressions."""
    relevance: float
    """0-1: how well the background suits the product, by a judge that neither policy nor reward model sees."""
    segment_ctrs: Mapping[str, float] = field(default_factory=dict)
    """Segment -> true click-through rate among its shoppers, of a product shown to everybody; empty where nobody knows segments."""
