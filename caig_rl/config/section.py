"""What every section of the configuration shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
NANO = "nano"
"""In place of a model folder: the embedded models that ship with the package."""


class Section(BaseModel):
    """Frozen, without unknown keys; a field's docstring is its description in the reference."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False)
