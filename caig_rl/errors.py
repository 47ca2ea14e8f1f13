"""Errors that a user can mend. The command line prints their message alone, without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Something the user gave is wrong. The message says what, where, and what to do. Exit code 1."""


class ConfigError(UserError):
    """A wrong key, type or range in a config or an override. Exit code 2."""


class CatalogError(UserError):
    """A catalog that cannot be read at all, or holds nothing usable."""


class ModelFolderError(UserError):
    """A model folder without weights, with pickled weights, or of an unknown kind."""


class CheckpointError(UserError):
    """A checkpoint that is cut short, or does not fit the run."""


class ClickLogError(UserError):
    """A click log that cannot be read, has too many faulty rows, or leaves nothing to learn from."""
