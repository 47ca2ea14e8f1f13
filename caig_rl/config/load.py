"""Loads a configuration: a YAML file, then dotted overrides; every mistake is named at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from caig_rl.config.keys import allowed, defaults, leaves, nearest, sections, types_of
from caig_rl.config.schema import Config
from caig_rl.config.yaml_source import parse_yaml, read_config_file, read_config_text
from caig_rl.errors import ConfigError

_OVERRIDES = "command line"


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """The validated configuration: defaults, then the YAML file at `path`, then `overrides` ("learner.lr=1e-5", values as in YAML).

    A section left empty in the file keeps its defaults.

    Raises:
        ConfigError: a file that cannot be read or parsed; or, all in one message, every unknown key (with the nearest right one) and
            every wrong value (with what is allowed).
    """
    found = _Settings()
    if path is not None:
        found.add_tree(read_config_file(path), "", str(path))
    return found.overridden(overrides)


def load_config_text(text: str, origin: str, overrides: Sequence[str] = ()) -> Config:
    """`load_config` of a YAML file's content, wherever it was read from; messages call it `origin`."""
    found = _Settings()
    found.add_tree(read_config_text(text, origin), "", origin)
    return found.overridden(overrides)


def load_run_config(text: str, origin: str, overrides: Sequence[str] = ()) -> Config:
    """`load_config_text` of the config.yaml of a run. A run from before `catalog.heldout_share` was a key held out nothing."""
    found = _Settings()
    found.values["catalog.heldout_share"] = 0.0
    found.add_tree(read_config_text(text, origin), "", origin)
    return found.overridden(overrides)


def config_yaml(config: Config) -> str:
    """The whole resolved configuration as YAML; `load_config` of it gives the same configuration."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def write_config(config: Config, path: Path) -> None:
    """Write the resolved configuration to `path`; its folder must be there."""
    path.write_text(config_yaml(config), encoding="utf-8")


class _Settings:
    """Values by dotted key, where each was given, and the mistakes so far."""

    def __init__(self) -> None:
        self.fields = leaves()
        self.sections = sections()
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.mistakes: list[str] = []

    def add_tree(self, tree: dict[Any, Any], prefix: str, origin: str) -> None:
        for name, value in tree.items():
            self.add(f"{prefix}{name}", value, origin)

    def add_override(self, text: str) -> None:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            self.mistakes.append(f"{text!r} ({_OVERRIDES}): an override is written key=value, like learner.lr=1e-5")
            return
        try:
            self.add(key, _override_value(value.strip(), self.fields.get(key)), _OVERRIDES)
        except ConfigError as error:
            self.mistakes.append(f"{key} = {value} ({_OVERRIDES}): {error}")

    def add(self, key: str, value: Any, origin: str) -> None:
        if key in self.sections:
            self._add_section(key, value, origin)
        elif key in self.fields:
            self._add_value(key, value, origin)
        elif (parent := key.rpartition(".")[0]) in self.fields and dict in types_of(self.fields[parent]):
            before = self.values.get(parent)
            self._add_value(parent, {**(before if isinstance(before, dict) else {}), key.rpartition(".")[2]: value}, origin)
        else:
            alike = self.sections if isinstance(value, dict) else list(self.fields)
            self.mistakes.append(f"{key} ({origin}): there is no such key; the nearest is {nearest(key, alike)}")

    def _add_section(self, key: str, value: Any, origin: str) -> None:
        if isinstance(value, dict):
            self.add_tree(value, f"{key}.", origin)
        elif value is not None:
            inside = [name for name in self.fields if name.startswith(f"{key}.")]
            self.mistakes.append(f"{key} = {_shown(value)} ({origin}): {key} is a section; set a key of it: {', '.join(inside)}")

    def _add_value(self, key: str, value: Any, origin: str) -> None:
        if origin != _OVERRIDES and self.origins.get(key) == origin:
            self.mistakes.append(f"{key} ({origin}): given twice, {_shown(self.values[key])} and {_shown(value)}; keep one of them")
        self.values[key] = value
        self.origins[key] = origin

    def overridden(self, overrides: Sequence[str]) -> Config:
        """The configuration with these on top; see `validated`."""
        for text in overrides:
            self.add_override(text)
        return self.validated()

    def validated(self) -> Config:
        """The configuration, or a ConfigError with all mistakes."""
        for key in [key for key, value in self.values.items() if isinstance(value, bool) and bool not in types_of(self.fields[key])]:
            self._refuse(key, self.values.pop(key))
        try:
            config = Config.model_validate(_nested({**defaults(), **self.values}))
        except ValidationError as error:
            for fault in error.errors():
                self._add_fault(fault)
        if self.mistakes:
            raise ConfigError("\n".join(["the configuration is wrong:", *(f"  {mistake}" for mistake in self.mistakes)]))
        return config

    def _add_fault(self, fault: Any) -> None:
        location = [str(part) for part in fault["loc"]]
        keys = [key for end in range(1, len(location) + 1) if (key := ".".join(location[:end])) in self.fields]
        if keys:
            self._refuse(keys[0], self.values[keys[0]])
        else:
            self.mistakes.append(fault["msg"].removeprefix("Value error, "))

    def _refuse(self, key: str, value: Any) -> None:
        mistake = f"{key} = {_shown(value)} ({self.origins[key]}): allowed is {allowed(self.fields[key])}"
        if mistake not in self.mistakes:
            self.mistakes.append(mistake)


def _override_value(text: str, field: FieldInfo | None) -> Any:
    """Text settings take the words as they stand (a path may hold "#" or ": "), unless quoted or null; all else is YAML."""
    if field is not None and types_of(field) <= {str, None} and text[:1] not in ("'", '"') and text not in ("", "~", "null"):
        return text
    return parse_yaml(text)


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *parents, name = key.split(".")
        inner = tree
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = value
    return tree


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
