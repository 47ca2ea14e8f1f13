"""Zero-shot judge: a multimodal model that never saw a click log is asked which of two creatives is clicked more (METHOD, section 5)."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from caig_rl.config.reward import JudgeConfig
from caig_rl.models.reward.endpoint import ChatEndpoint, EndpointFault, Fault
from caig_rl.models.reward.interface import RewardError, check_lengths, scores_from_comparisons
from caig_rl.models.reward.side_by_side import side_by_side
from caig_rl.segments import naming
from caig_rl.types import ImageArray, Product

QUESTION = (
    "The picture shows two ads for the same product side by side: {product}. "
    "Which of them will shoppers click more? Answer with one word, left or right."
)
MAX_TOKENS = 16
"""Room for one word and its ornaments."""
REMEMBERED = 10_000
"""Verdicts kept, about."""


class RewardJudge:
    """Asks about every pair in both orders. An answer that follows the position, not the creative, counts as undecided: log-odds 0.

    A question without an answer is a RewardError of its product, counted by kind in `endpoint.faults`; there is no default verdict.
    """

    kind = "judge"

    def __init__(self, config: JudgeConfig, endpoint: ChatEndpoint | None = None) -> None:
        self.endpoint = endpoint or ChatEndpoint(config)
        self._config = config
        self._fields: dict[str, Any] = {"max_tokens": MAX_TOKENS}
        if config.structured_outputs:
            self._fields["structured_outputs"] = {"choice": ["left", "right"]}
        self._nonsense = ""
        # A batch with one silent question is asked again without it: what was answered must not be paid for twice.
        self._known: dict[bytes, float] = {}

    def verdicts(self, products: Sequence[Product], lefts: Sequence[ImageArray], rights: Sequence[ImageArray]) -> npt.NDArray[np.float32]:
        """(M,) 1 where the judge says left, -1 where right, in this order alone; NaN where it gave no answer."""
        check_lengths(products, lefts, rights)
        messages = [self._messages(*parts) for parts in zip(products, lefts, rights, strict=True)]
        names = [blake2b(json.dumps(message).encode(), digest_size=16).digest() for message in messages]
        open_questions = {name: message for name, message in zip(names, messages, strict=True) if name not in self._known}
        answers = self.endpoint.ask_all(list(open_questions.values()), self._fields)
        said = {name: self._verdict(answer) for name, answer in zip(open_questions, answers, strict=True)}
        verdicts = np.array([self._known.get(name, said.get(name)) for name in names], dtype=np.float32)
        self._remember({name: value for name, value in said.items() if not np.isnan(value)})
        return verdicts

    def compare(
        self, products: Sequence[Product], firsts: Sequence[ImageArray], seconds: Sequence[ImageArray], batch_size: int = 64
    ) -> npt.NDArray[np.float32]:
        """(M,) 1 where both orders favour `firsts[i]`, -1 where both favour `seconds[i]`, 0 where the answer followed the position.

        Raises:
            RewardError: a question has no answer.
        """
        both = self.verdicts([*products, *products], [*firsts, *seconds], [*seconds, *firsts])
        first, swapped = both[: len(products)], both[len(products) :]
        value: npt.NDArray[np.float32] = (first - swapped) / np.float32(2.0)
        silent = np.flatnonzero(np.isnan(value))
        if len(silent):
            names = [products[int(i)].product_id for i in silent]
            raise RewardError(names, f"the judge gave no verdict ({self._faults()})", silent.tolist())
        return value

    def score(self, products: Sequence[Product], creatives: Sequence[ImageArray], batch_size: int = 64) -> npt.NDArray[np.float32]:
        """(N,) scores from all comparisons inside each product, between -1 and 1.

        Raises:
            RewardError: a question has no answer.
        """
        return scores_from_comparisons(products, creatives, lambda p, a, b: self.compare(p, a, b, batch_size))

    def _faults(self) -> str:
        """What went wrong so far, and what can be done about it."""
        faults = self.endpoint.faults
        counts = "faults so far: " + ", ".join(f"{count} {fault}" for fault, count in faults.most_common())
        if self._nonsense:
            advice = "reward.judge.structured_outputs=true holds a model that vLLM serves to left or right"
            counts += f"; the last answer that was neither left nor right: {self._nonsense}; {advice}"
        if faults[Fault.REFUSED]:
            counts += f"; the key is read from the environment variable {self._config.key_env} (reward.judge.key_env)"
        return counts

    def _remember(self, verdicts: dict[bytes, float]) -> None:
        if len(self._known) > REMEMBERED:
            self._known.clear()
        self._known |= verdicts

    def _messages(self, product: Product, left: ImageArray, right: ImageArray) -> list[dict[str, Any]]:
        words = [f"{product.title} ({product.category})", product.description]
        text = QUESTION.format(product=" ".join(" ".join(words).split())) + naming(product.segment)
        picture = {"type": "image_url", "image_url": {"url": _data_uri(side_by_side(left, right, self._config.image_size))}}
        return [{"role": "user", "content": [picture, {"type": "text", "text": text}]}]

    def _verdict(self, answer: str | EndpointFault) -> float:
        if isinstance(answer, EndpointFault):
            return float("nan")
        side = said_side(answer)
        if side is None:
            self.endpoint.count(Fault.NONSENSE)
            self._nonsense = self.endpoint.excerpt(answer)
            return float("nan")
        return 1.0 if side == "left" else -1.0


def said_side(answer: str) -> str | None:
    """Either "left" or "right" where the answer says exactly one of them, else None."""
    said = set(re.findall(r"\b(left|right)\b", answer.lower()))
    return said.pop() if len(said) == 1 else None


def _data_uri(picture: ImageArray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
