"""The operator's rules for what may be shown: words that no prompt may hold, and words that one brand's may not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Literal

from caig_rl.config.serve import ServeConfig

Status = Literal["pending", "approved", "rejected", "refused"]
"""pending: waits for a person. approved: may be shown. rejected: by a person. refused: by a rule, and no person may approve it."""


class Rules:
    """What `serve.banned_words`, `serve.brand_rules` and `serve.approval` say."""

    def __init__(self, config: ServeConfig) -> None:
        self._by_rule = config.approval == "rules"
        self._banned = _words(config.banned_words)
        self._brands: Mapping[str, frozenset[str]] = {name.casefold(): _words(text) for name, text in config.brand_rules.items()}

    def objection(self, tenant: str, category: str, prompt: str) -> str:
        """Why a creative with this prompt must not be shown; empty where no rule objects."""
        text = f" {_plain(prompt)} "
        for name, words in self._lists(tenant, category):
            for word in sorted(words):
                if f" {word} " in text:
                    return f"the prompt holds {word!r}, which {name} bans"
        return ""

    def first_status(self, tenant: str, category: str, prompt: str) -> Status:
        """The status of a creative that was just made."""
        if self.objection(tenant, category, prompt):
            return "refused"
        return "approved" if self._by_rule else "pending"

    def _lists(self, tenant: str, category: str) -> list[tuple[str, frozenset[str]]]:
        lists = [("serve.banned_words", self._banned)]
        for key in (tenant, f"{tenant}/{category}".casefold()):
            if key in self._brands:
                lists.append((f"serve.brand_rules.{key}", self._brands[key]))
        return lists


def _words(text: str) -> frozenset[str]:
    return frozenset(word for part in text.split(",") if (word := _plain(part)))


def _plain(text: str) -> str:
    """Lower case, compatibility forms folded, everything but letters and digits a blank: "NEON-city!" is "neon city"."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[\W_]+", " ", folded).split())
