"""API keys: who asks. Only their hashes are kept; a key is shown once, when it is made."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from pathlib import Path

from caig_rl.errors import UserError
from caig_rl.serving.files import replace_file
from caig_rl.serving.problems import Problem

FILE = "keys.json"
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class KeyRing:
    """The keys in `ROOT/keys.json`: hash -> tenant. A key that another process added is known at its first use."""

    def __init__(self, root: Path) -> None:
        self._path = root / FILE
        self._stamp: tuple[int, int] | None = None
        self._tenants: dict[str, str] = {}

    def add(self, tenant: str) -> str:
        """Make a key for `tenant` and return it; it cannot be read back later.

        Raises:
            UserError: the tenant's name has other characters than a-z, 0-9 and "-", or more than 40.
        """
        if not _TENANT.fullmatch(tenant):
            raise UserError(f"{tenant!r} is no tenant's name: use a-z, 0-9 and '-', at most 40 characters.")
        key = secrets.token_urlsafe(32)
        kept = {**self._read(), _digest(key): tenant}
        replace_file(self._path, json.dumps({"keys": kept}, indent=1).encode(), private=True)
        return key

    def tenants(self) -> list[str]:
        """Every tenant that has a key."""
        return sorted(set(self._read().values()))

    def tenant_of(self, authorization: str | None) -> str:
        """The tenant of an `Authorization: Bearer KEY` header.

        Raises:
            Problem: 401 where it is missing or unknown.
        """
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Problem(401, "missing_key", "send the header Authorization: Bearer KEY", "Authorization")
        # Looked up by hash: the time it takes says nothing of the key.
        tenant = self._read().get(_digest(key.strip()))
        if tenant is None:
            raise Problem(401, "wrong_key", "this API key is not known; make one with `caig-rl serve key TENANT`", "Authorization")
        return tenant

    def _read(self) -> dict[str, str]:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return {}
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            self._tenants = dict(json.loads(self._path.read_text(encoding="utf-8"))["keys"])
            self._stamp = stamp
        return self._tenants


def _digest(key: str) -> str:
    # Keys are 256 random bits, so a plain hash cannot be searched.
    return hashlib.sha256(key.encode()).hexdigest()
