"""Creatives on storage that all replicas share: each one's picture, all that is needed to make it again, and what was decided of it.

    ROOT/tenants/TENANT/PRODUCT-HASH/ CREATIVE.json  CREATIVE.png  CREATIVE.decision.json  cutout-HASH.png

No path is made of what a client sends: product ids are hashed, creative ids are minted here and checked, tenants come from the key file.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from caig_rl.serving.creatives.rules import Status
from caig_rl.serving.files import create_file, replace_file
from caig_rl.serving.problems import Problem
from caig_rl.types import Cutout, Product

_CREATIVE_ID = re.compile(r"c[0-9a-f]{32}")
_FRESH_S = 2.0
"""A folder changed less than this long ago may change again without its time stamp showing it."""


@dataclass(frozen=True, slots=True)
class StoredCreative:
    """One creative as it was made. It never changes; decisions lie beside it."""

    creative_id: str
    tenant: str
    product_id: str
    title: str
    category: str
    description: str
    instruction: str
    prompt: str
    seed: int
    """Of the whole request: instruction wording, policy sampling and diffusion noise derive from it."""
    candidate: int
    """Number among the candidates of its request; prompt k was sampled with seed + k."""
    version: str
    """Policy version."""
    score: float
    """Reward model, log-odds."""
    predicted_ctr: float
    cutout: str
    """Hash of the cut-out it was made from."""
    models: str
    """Hash of the settings and weights that painted and scored it."""
    created: float
    """Seconds since 1970 UTC."""
    first_status: Status
    objection: str
    """Why a rule refused it; empty where none did."""


@dataclass(frozen=True, slots=True)
class Shelved:
    """A creative and where it stands now."""

    creative: StoredCreative
    status: Status
    decided_by: str = ""


class CreativeStore:
    """Reads and writes the creatives of all tenants. Safe to use from several threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root, self._tenants = root, root / "tenants"
        self._known: dict[Path, tuple[int, tuple[Shelved, ...]]] = {}
        self._lock = threading.Lock()

    def new_id(self, product_id: str) -> str:
        """An id for a creative of this product."""
        return f"c{_product_hash(product_id)}{secrets.token_hex(8)}"

    def save_cutout(self, tenant: str, product: Product, cutout: Cutout) -> str:
        """Keep the product's pixels; returns their hash."""
        name = hashlib.sha256(np.ascontiguousarray(cutout.rgba).tobytes()).hexdigest()[:32]
        path = self._folder(tenant, product.product_id) / f"cutout-{name}.png"
        if not path.is_file():  # of the same picture only the first request pays for encoding it
            create_file(path, encode_png(cutout.rgba))
        return name

    def save(self, creative: StoredCreative, png: bytes) -> None:
        """Keep a creative that was just made; its record is written last, so what is listed is whole."""
        folder = self._folder(creative.tenant, creative.product_id)
        create_file(folder / f"{creative.creative_id}.png", png)
        create_file(folder / f"{creative.creative_id}.json", json.dumps(asdict(creative), indent=1).encode())

    def get(self, tenant: str, creative_id: str) -> Shelved:
        """One creative.

        Raises:
            Problem: 404 where this tenant has none of that id.
        """
        path = self._path(tenant, creative_id)
        if not path.is_file():
            raise Problem(404, "unknown_creative", "creative_id: you have no creative of this id", "creative_id")
        return _read(path)

    def image_path(self, tenant: str, creative_id: str) -> Path:
        """Where the picture lies in the service's folder, relative to it. Raises Problem (404) where the id has not the form of one."""
        return self._path(tenant, creative_id).with_suffix(".png").relative_to(self._root)

    def image(self, tenant: str, creative_id: str) -> bytes:
        """The picture, as PNG. Raises Problem (404) as `get`."""
        self.get(tenant, creative_id)
        return self._path(tenant, creative_id).with_suffix(".png").read_bytes()

    def decide(self, tenant: str, creative_id: str, status: Status, by: str) -> Shelved:
        """Approve or reject; the last decision counts.

        Raises:
            Problem: 404 as `get`; 409 where a rule refused it.
        """
        shelved = self.get(tenant, creative_id)
        if shelved.status == "refused":
            raise Problem(409, "refused_by_rule", f"creative_id: {shelved.creative.objection}; no person can approve it", "creative_id")
        decision = {"status": status, "by": by, "time": time.time()}
        replace_file(self._path(tenant, creative_id).with_suffix(".decision.json"), json.dumps(decision).encode())
        return self.get(tenant, creative_id)

    def of_product(self, tenant: str, product_id: str) -> tuple[Shelved, ...]:
        """Every creative of a product, the oldest first; empty where the product is unknown."""
        return self._shelf(self._folder(tenant, product_id))

    def all(self, tenant: str) -> Iterator[Shelved]:
        """Every creative of a tenant, product by product."""
        folder = self._tenants / tenant
        if folder.is_dir():
            for product in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
                yield from self._shelf(product)

    def _shelf(self, folder: Path) -> tuple[Shelved, ...]:
        try:
            stamp = folder.stat().st_mtime_ns
        except FileNotFoundError:
            return ()
        with self._lock:
            known = self._known.get(folder)
            if known is not None and known[0] == stamp and time.time() - stamp / 1e9 > _FRESH_S:
                return known[1]
        records = (path for path in folder.glob("c*.json") if _CREATIVE_ID.fullmatch(path.stem))
        found = tuple(sorted((_read(path) for path in records), key=lambda one: (one.creative.created, one.creative.creative_id)))
        with self._lock:
            self._known[folder] = (stamp, found)
        return found

    def _folder(self, tenant: str, product_id: str) -> Path:
        return self._tenants / tenant / _product_hash(product_id)

    def _path(self, tenant: str, creative_id: str) -> Path:
        if not _CREATIVE_ID.fullmatch(creative_id):
            raise Problem(404, "unknown_creative", "creative_id: you have no creative of this id", "creative_id")
        return self._tenants / tenant / creative_id[1:17] / f"{creative_id}.json"


def encode_png(image: np.ndarray) -> bytes:
    """(height, width, 3 or 4) as PNG, compressed lightly: the time counts more than the bytes."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _read(path: Path) -> Shelved:
    creative = StoredCreative(**json.loads(path.read_text(encoding="utf-8")))
    try:
        decision = json.loads(path.with_suffix(".decision.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Shelved(creative, creative.first_status)
    return Shelved(creative, decision["status"], decision["by"])


def _product_hash(product_id: str) -> str:
    return hashlib.sha256(product_id.encode()).hexdigest()[:16]
