"""Impression ids: only the service can make one, and nobody can change one."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caig_rl.serving.events.impressions import Impression, mint, read_impression
from caig_rl.serving.events.signing import BadSignature, Signer

SHOWN = Impression("acme", "c1", "sku/7 é", "shoes", "gift givers", 1, "v1", "live", 0.9, "v2", "base", "shelf", 0.25, 1000.0)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("keys"))


def test_what_was_minted_is_read_back_and_two_ids_of_the_same_impression_differ(signer: Signer):
    impression_id = mint(SHOWN, signer)
    assert read_impression(impression_id, signer) == SHOWN
    assert mint(replace(SHOWN, nonce="other"), signer) != impression_id


@given(st.data())
def test_an_id_changed_in_any_character_is_refused(signer: Signer, data: st.DataObject):
    impression_id = mint(SHOWN, signer)
    place = data.draw(st.integers(0, len(impression_id) - 1))
    letter = data.draw(st.sampled_from("abcXYZ019-_."))
    forged = impression_id[:place] + letter + impression_id[place + 1 :]
    if forged != impression_id:
        with pytest.raises(BadSignature):
            read_impression(forged, signer)


@given(st.text())
def test_any_other_text_is_refused(signer: Signer, text: str):
    with pytest.raises(BadSignature):
        read_impression(text, signer)


def test_a_signature_for_another_purpose_is_no_impression(signer: Signer):
    with pytest.raises(BadSignature):
        read_impression(signer.sign("image", "c1"), signer)


def test_replicas_share_keys_and_old_ids_stay_good_over_one_rotation(tmp_path: Path):
    first, second = Signer(tmp_path), Signer(tmp_path)
    old = mint(SHOWN, first)
    assert read_impression(old, second) == SHOWN
    assert second.rotate() == "k2"
    new = mint(SHOWN, second)
    assert new.startswith("k2.")
    assert read_impression(new, first) == SHOWN == read_impression(old, second)
    second.rotate()
    with pytest.raises(BadSignature):
        read_impression(old, second)
    assert (tmp_path / "signing.json").stat().st_mode & 0o077 == 0
