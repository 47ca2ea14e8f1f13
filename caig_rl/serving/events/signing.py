"""Signatures that only this service can make: HMAC-SHA256, with keys that can be changed while old signatures stay good."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from pathlib import Path

from caig_rl.serving.files import create_file, replace_file

FILE = "signing.json"
_TAG_BYTES = 16


class BadSignature(ValueError):
    """A text that this service did not sign, or that was changed since."""


class Signer:
    """Signs with the newest key and accepts every key that is kept. All replicas read the same `ROOT/signing.json`."""

    def __init__(self, root: Path) -> None:
        """Read the keys; the first process to come makes the first one."""
        self._path = root / FILE
        create_file(self._path, _content([_new_key(1)]), private=True)
        self._keys: list[tuple[str, bytes]] = []
        self._load()

    def sign(self, purpose: str, text: str) -> str:
        """`KEY.TEXT.TAG`, safe in an address. A signature for one purpose is none for another."""
        name, secret = self._keys[-1]
        body = _encode(text.encode())
        return f"{name}.{body}.{_tag(secret, purpose, body)}"

    def verify(self, purpose: str, signed: str) -> str:
        """The text that was signed.

        Raises:
            BadSignature: forged, changed, for another purpose, or signed with a key that was dropped.
        """
        parts = signed.split(".")
        if len(parts) != 3 or not signed.isascii():
            raise BadSignature("it has not the form of a signature")
        name, body, tag = parts
        if name not in dict(self._keys):
            self._load()
        secret = dict(self._keys).get(name)
        if secret is None or not hmac.compare_digest(tag, _tag(secret, purpose, body)):
            raise BadSignature("it was not signed by this service")
        return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode()

    def rotate(self, keep: int = 2) -> str:
        """Sign with a new key from now on, and forget all but the newest `keep`; returns the new key's name.

        Other replicas go on with the key they know until they are asked to verify a newer one, or restart.
        """
        self._load()
        number = int(self._keys[-1][0][1:]) + 1
        self._keys = [*self._keys, _new_key(number)][-keep:]
        replace_file(self._path, _content(self._keys), private=True)
        return self._keys[-1][0]

    def _load(self) -> None:
        content = json.loads(self._path.read_text(encoding="utf-8"))
        self._keys = [(name, bytes.fromhex(secret)) for name, secret in content["keys"]]


def _new_key(number: int) -> tuple[str, bytes]:
    return f"k{number}", secrets.token_bytes(32)


def _content(keys: list[tuple[str, bytes]]) -> bytes:
    return json.dumps({"keys": [[name, secret.hex()] for name, secret in keys]}, indent=1).encode()


def _tag(secret: bytes, purpose: str, body: str) -> str:
    return _encode(hmac.new(secret, f"{purpose}\n{body}".encode(), hashlib.sha256).digest()[:_TAG_BYTES])


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
