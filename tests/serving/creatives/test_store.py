"""Creatives: kept whole, decided by people within the rules, and out of other tenants' reach."""

from pathlib import Path

import pytest

from caig_rl.serving.creatives.store import CreativeStore
from caig_rl.serving.problems import Problem
from tests.serving.made_creatives import MUG, cutout, stored


@pytest.fixture
def store(tmp_path: Path) -> CreativeStore:
    return CreativeStore(tmp_path)


def test_a_creative_is_found_by_product_and_by_id_with_its_picture(store: CreativeStore):
    creative = stored(store.new_id(MUG.product_id))
    store.save(creative, b"png")
    assert [one.creative for one in store.of_product("acme", MUG.product_id)] == [creative]
    assert store.get("acme", creative.creative_id).creative == creative
    assert store.image("acme", creative.creative_id) == b"png"
    assert store.of_product("acme", "unknown") == ()


def test_decisions_are_seen_by_another_replica_at_once_and_the_last_one_counts(store: CreativeStore, tmp_path: Path):
    creative = stored(store.new_id(MUG.product_id))
    store.save(creative, b"png")
    other = CreativeStore(tmp_path)
    for status in ("approved", "rejected", "approved"):
        store.decide("acme", creative.creative_id, status, "Ann")
        assert [one.status for one in other.of_product("acme", MUG.product_id)] == [status]
        assert [one.decided_by for one in other.all("acme")] == ["Ann"]


def test_what_a_rule_refused_no_person_can_approve(store: CreativeStore):
    creative = stored(store.new_id(MUG.product_id), first_status="refused", objection="the prompt holds 'neon'")
    store.save(creative, b"png")
    with pytest.raises(Problem, match="neon") as caught:
        store.decide("acme", creative.creative_id, "approved", "Ann")
    assert caught.value.status == 409


@pytest.mark.parametrize("creative_id", ["", "c1", "../../keys", "c" + "0" * 32, "c" + "0" * 31 + "/"])
def test_an_unknown_id_or_a_path_is_answered_404(store: CreativeStore, creative_id: str):
    for call in (store.get, store.image):
        with pytest.raises(Problem) as caught:
            call("acme", creative_id)
        assert caught.value.status == 404


def test_another_tenant_cannot_reach_a_creative(store: CreativeStore):
    creative = stored(store.new_id(MUG.product_id))
    store.save(creative, b"png")
    for call in (lambda: store.get("other", creative.creative_id), lambda: store.decide("other", creative.creative_id, "approved", "x")):
        with pytest.raises(Problem) as caught:
            call()
        assert caught.value.status == 404
    assert store.of_product("other", MUG.product_id) == ()
    assert list(store.all("other")) == []


def test_a_cutout_is_kept_once_by_its_pixels(store: CreativeStore, tmp_path: Path):
    names = {store.save_cutout("acme", MUG, cutout()) for _ in range(2)}
    assert len(names) == 1
    assert len(list(tmp_path.rglob("cutout-*.png"))) == 1


def test_a_creative_without_its_record_is_not_listed(store: CreativeStore, tmp_path: Path):
    creative = stored(store.new_id(MUG.product_id))
    store.save(creative, b"png")
    next(tmp_path.rglob(f"{creative.creative_id}.json")).unlink()
    assert CreativeStore(tmp_path).of_product("acme", MUG.product_id) == ()
