"""Whether a policy still writes language, and whether it still varies. Pure functions of prompts.

`check_prompts` is for prompts of any words, where no judge knows better (`caig_rl.interfaces.PromptChecker`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from caig_rl.prompt_model.phrases import words
from caig_rl.runs.summary import PromptHealth
from caig_rl.statistics import distinct_share
from caig_rl.types import PromptCheck

_LONGEST_LOOP = 8
"""Words of the longest phrase that is looked for twice in a row."""
_BETWEEN_PARTS = re.compile(r"[,;\n，。；、]|\.(?=\s|$)")
_CUT_OFF = re.compile(r"(?:\b(?:an?|the|of|with|and|or|in|at|to|for|from|into)|[-,;:(\[/&])\s*$", re.IGNORECASE)
_DEBRIS = re.compile(
    r"<\|?/?\w[\w ]*\|?>|\[/?INST\]|```|##|https?://|^\s*[\[{]"  # tokens and markup of training text
    r"|\b(?:user|assistant|system|prompt|answer)\s*:"
    r"|\bas an ai\b|\bi(?:['’]m sorry| cannot| can['’]t)\b|^\s*(?:sure|certainly|of course)\s*[,!]|^\s*here(?:['’]s| is| are)\b",
    re.IGNORECASE,
)


def fault(text: str) -> str | None:
    """What makes `text` no usable prompt: "empty", "unprintable", "debris" (of a language model's training or manners), "cut_off" or
    "repeated"; None where nothing does."""
    spoken = words(text)
    if not spoken:
        return "empty"
    if "\ufffd" in text or not all(sign.isprintable() or sign in "\n\t" for sign in text):
        return "unprintable"
    if _DEBRIS.search(text):
        return "debris"
    if _CUT_OFF.search(text) or any(text.count(left) != text.count(right) for left, right in ("()", "[]")):
        return "cut_off"
    return "repeated" if _repeats(spoken, parts_of(text)) else None


def parts_of(text: str) -> tuple[str, ...]:
    """The parts between commas and full stops, in folded case."""
    return tuple(part for piece in _BETWEEN_PARTS.split(text) if (part := " ".join(words(piece))))


def check_prompts(texts: Iterable[str]) -> list[PromptCheck]:
    """Check prompts as plain language; what would be a trap is not known."""
    return [PromptCheck(fault(text) is not None, None, parts_of(text)) for text in texts]


def prompt_health(texts: Sequence[str], checks: Sequence[PromptCheck]) -> PromptHealth:
    """`checks[i]` is what was found of `texts[i]`; all by the same checker. Raises ValueError without a prompt."""
    if not texts or len(texts) != len(checks):
        raise ValueError(f"{len(checks)} checks of {len(texts)} prompts: one of each, and at least one, is needed")
    backgrounds = Counter(_background(check) for check in checks)
    return PromptHealth(
        malformed=malformed_share(checks),
        trap=trap_share(checks),
        distinct=distinct_share(texts),
        commonest_background=max(backgrounds.values()) / len(checks),
        attribute_entropy=attribute_entropy(checks),
    )


def malformed_share(checks: Sequence[PromptCheck]) -> float:
    """Share of malformed prompts among at least one."""
    return sum(check.malformed for check in checks) / len(checks)


def trap_share(checks: Sequence[PromptCheck]) -> float | None:
    """Share of prompts that ask for a trap; None where nobody knows what a trap is."""
    known = [check.trap for check in checks if check.trap is not None]
    return sum(known) / len(known) if known else None


def attribute_entropy(checks: Sequence[PromptCheck]) -> float:
    """How much prompts vary, in bits; 3 bits are as varied as eight phrases in equal shares.

    Where places are fixed: mean over them of the entropy of the phrases there. Elsewhere: entropy of the parts of all prompts together.
    """
    if any(check.trap is None for check in checks):
        return entropy(part for check in checks for part in check.attributes)
    places = zip(*(check.attributes for check in checks), strict=True)
    return float(np.mean([entropy(phrase for phrase in place if phrase is not None) for place in places]))


def entropy(values: Iterable[object]) -> float:
    """Entropy in bits of the shares of equal values, -sum p log2 p; 0 for none."""
    counts = np.array(list(Counter(values).values()), dtype=np.float64)
    shares = counts / counts.sum()
    return float(np.sum(shares * np.log2(1 / shares)))


def _background(check: PromptCheck) -> object:
    """The same for two wordings of the same background."""
    return check.background or tuple(sorted(part for part in check.attributes if part is not None))


def _repeats(spoken: Sequence[str], parts: Sequence[str]) -> bool:
    """True where a part comes twice, a word three times in a row, or a longer phrase twice in a row."""
    if len(set(parts)) < len(parts):
        return True
    if any(spoken[k] == spoken[k + 1] == spoken[k + 2] for k in range(len(spoken) - 2)):
        return True
    return any(
        spoken[k : k + length] == spoken[k + length : k + 2 * length]
        for length in range(2, _LONGEST_LOOP + 1)
        for k in range(len(spoken) - 2 * length + 1)
    )
