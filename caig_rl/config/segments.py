"""Segments of shoppers that policy and reward are conditioned on."""

from __future__ import annotations

from pydantic import Field, model_validator

from caig_rl.config.section import Section as _Section

MAX_BYTES = 24
"""Longest name in UTF-8 bytes: a small model's texts must have room for it (`data.instructions.TextLimits`)."""


class SegmentsConfig(_Section):
    """Segments of shoppers. With names, each product of a round is for one of them, which the policy and the reward model are told."""

    names: list[str] = Field(default_factory=list)
    """Segments that are told apart: of the click world's shoppers, "bargain hunters", "style seekers" and "gift givers"; of a click log,
    values of its column `segment` (`data pairs`, `reward train`). Empty: one policy for everybody. A name has at most 24 bytes."""

    @model_validator(mode="after")
    def _each_is_a_name_of_its_own(self) -> SegmentsConfig:
        for name in self.names:
            if not name or name != " ".join(name.split()) or len(name.encode()) > MAX_BYTES:
                raise ValueError(f"segments.names: {name!r} is none: 1 to {MAX_BYTES} bytes, one space between two words")
            if self.names.count(name) > 1:
                raise ValueError(f"segments.names: {name!r} is named twice")
        return self
