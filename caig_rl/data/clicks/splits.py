"""Which products train, which decide when to stop, and which measure: by product, never by row."""

from __future__ import annotations

from hashlib import blake2b

TRAIN, VALIDATION, HELDOUT = "train", "validation", "heldout"


def split_of(product_id: str, seed: int, validation_share: float, heldout_share: float) -> str:
    """The split of one product: a function of its id and the seed alone, so that a log that grows moves no product to another split."""
    digest = blake2b(f"{seed}:{product_id}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2.0**64
    if place < heldout_share:
        return HELDOUT
    return VALIDATION if place < heldout_share + validation_share else TRAIN
