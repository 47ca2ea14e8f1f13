"""What every section of the configuration shares."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

FilePath = Annotated[str, AfterValidator(os.path.expanduser)]
"""A path, or an fsspec URI where the key says so; "~" is the home folder, as in a shell."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
NANO = "nano"
"""In place of a model folder: the embedded models that ship with the package."""


class Section(BaseModel):
    """Frozen, without unknown keys; a field's docstring is its description in the reference."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False)
