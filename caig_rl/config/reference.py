"""The configuration reference, made from the schema: `python -m caig_rl.config.reference docs/configuration.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from caig_rl.config.keys import describe_keys


def reference_page() -> str:
    """All keys as one Markdown page."""
    lines = [
        "# Configuration",
        "",
        "Made from `caig_rl/config/schema.py`. Every key can be given in the YAML file or as an override, `key=value`.",
        "",
    ]
    lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for key, kind, default, description in describe_keys():
        cells = (f"`{key}`", f"`{kind}`", f"`{default}`", " ".join(description.split()))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference_page(), encoding="utf-8")
