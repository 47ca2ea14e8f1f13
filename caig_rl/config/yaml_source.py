"""YAML text into plain values. A key given twice is refused: PyYAML alone would keep the last and drop the first unseen."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from caig_rl.errors import ConfigError


class _StrictLoader(yaml.SafeLoader):
    """`yaml.SafeLoader` that refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key, line = key_node.value, key_node.start_mark.line + 1
            if key in seen:
                raise ConfigError(f"line {line}: {key} is given twice, first in line {seen[key]}; keep one of them")
            seen[key] = line
        return super().construct_mapping(node, deep)


def read_config_file(path: Path) -> dict[Any, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        ConfigError: missing, a folder, not UTF-8, malformed (with the line), a key given twice, or not a mapping.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}{_shipped_hint()}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a UTF-8 text (byte {error.start}); save it as UTF-8") from error
    return read_config_text(text, str(path))


def read_config_text(text: str, origin: str) -> dict[Any, Any]:
    """The mapping in the text of a YAML file, which messages call `origin`; an empty text is an empty mapping.

    Raises:
        ConfigError: malformed (with the line), a key given twice, or not a mapping.
    """
    try:
        content = parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{origin}: holds {type(content).__name__} {content!r:.60}, but a mapping of sections is needed (learner: ...)")
    return content


def parse_yaml(text: str) -> Any:
    """`text` as plain YAML values.

    Raises:
        ConfigError: malformed YAML, with line and column, or a key given twice.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{where}not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}") from error


def _shipped_hint() -> str:
    folders = (Path(__file__).parents[2] / "configs", Path(sys.prefix) / "share" / "caig-rl" / "configs")
    names = sorted(str(path) for folder in folders for path in folder.glob("*.yaml"))
    return f"; configs that ship with the project: {', '.join(names)}" if names else ""
