"""The dotted keys of the configuration: what each takes, and which one a wrong key was meant to be."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import reduce
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from caig_rl.config.schema import Config

_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "multiple_of": "a multiple of", "pattern": "matching"}


class KeyInfo(NamedTuple):
    """One setting, as the reference documentation shows it."""

    key: str
    """Dotted: "learner.lr"."""
    type: str
    """What is allowed, in words: "number, at least 0.0"."""
    default: Any
    """Its value where nothing is given."""
    description: str
    """The field's docstring; empty where the name says it all."""


def describe_keys() -> list[KeyInfo]:
    """Every setting of the configuration, in the schema's order."""
    found = defaults()
    return [KeyInfo(key, allowed(field), found[key], field.description or "") for key, field in leaves().items()]


def defaults() -> dict[str, Any]:
    """Dotted key -> its value in a configuration that nobody touched. A section's own default may differ from its class's."""
    return values(Config())


def values(config: Config) -> dict[str, Any]:
    """Dotted key -> its value in `config`."""
    return {key: reduce(getattr, key.split("."), config) for key in leaves()}


def leaves() -> dict[str, FieldInfo]:
    """Dotted key -> field, for every setting that is not a section."""
    return {key: field for key, field in _walk(Config, "") if section_of(field) is None}


def sections() -> list[str]:
    """Dotted keys of the sections, in the schema's order."""
    return [key for key, field in _walk(Config, "") if section_of(field) is not None]


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The section's class where the field is a section, else None."""
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def types_of(field: FieldInfo) -> set[Any]:
    """The plain types a setting takes: {str, None} for `str | None`; a literal counts as the types of its values."""
    return set(_plain_types(field.annotation))


def allowed(field: FieldInfo) -> str:
    """What a setting takes, in words: "whole number, at least 2"."""
    parts = [_in_words(field.annotation)]
    for entry in field.metadata:
        parts += [f"{words} {value}" for name, words in _BOUNDS.items() if (value := getattr(entry, name, None)) is not None]
    return ", ".join(parts)


def nearest(key: str, candidates: list[str]) -> str:
    """The candidate that `key` was most likely meant to be.

    The last part counts as much as the whole ("lr" means "learner.lr"), and initials count as a match ("learning_rate").
    A key below a setting ("learner.lr.start") means that setting.
    """
    assert candidates
    above = [candidate for candidate in candidates if key.startswith(f"{candidate}.")]
    return max(above, key=len) if above else max(candidates, key=lambda candidate: _likeness(key, candidate))


def _likeness(key: str, candidate: str) -> float:
    name, candidate_name = key.rpartition(".")[2], candidate.rpartition(".")[2]
    initials = "".join(word[:1] for word in name.split("_"))
    of_names = 1.0 if initials == candidate_name else SequenceMatcher(None, name, candidate_name).ratio()
    return SequenceMatcher(None, key, candidate).ratio() + of_names


def _walk(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in section.model_fields.items():
        yield prefix + name, field
        inner = section_of(field)
        if inner is not None:
            yield from _walk(inner, f"{prefix}{name}.")


def _plain_types(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from _plain_types(member)
    elif origin is Annotated:
        yield from _plain_types(get_args(annotation)[0])
    elif origin is Literal:
        yield from (type(value) for value in get_args(annotation))
    else:
        yield None if annotation is type(None) else origin or annotation


def _in_words(annotation: Any) -> str:
    origin, members = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(_in_words(member) for member in members)
    if origin is Annotated:
        return _in_words(members[0])
    if origin is Literal:
        return "one of " + ", ".join(str(value) for value in members)
    if origin is list:
        return f"list of {_in_words(members[0])}"
    if origin is tuple:
        return "[" + ", ".join(_in_words(member) for member in members) + "]"
    if origin is dict:
        return f"mapping of {_in_words(members[0])} to {_in_words(members[1])}"
    return "empty" if annotation is type(None) else _WORDS[annotation]
