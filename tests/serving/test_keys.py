from pathlib import Path

import pytest

from caig_rl.errors import UserError
from caig_rl.serving.keys import KeyRing
from caig_rl.serving.problems import Problem


def test_a_key_names_its_tenant_and_the_file_does_not_hold_it(tmp_path: Path):
    ring = KeyRing(tmp_path)
    key = ring.add("acme")
    assert ring.tenant_of(f"Bearer {key}") == "acme"
    assert key not in (tmp_path / "keys.json").read_text()
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0


def test_a_key_that_another_process_added_is_known_at_its_first_use(tmp_path: Path):
    ring = KeyRing(tmp_path)
    first = ring.add("acme")
    assert ring.tenant_of(f"Bearer {first}") == "acme"
    second = KeyRing(tmp_path).add("other")
    assert ring.tenant_of(f"bearer {second}") == "other"
    assert ring.tenants() == ["acme", "other"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer wrong", "Bearer " + "é" * 9])
def test_without_a_known_key_the_answer_is_401(tmp_path: Path, header: str | None):
    KeyRing(tmp_path).add("acme")
    with pytest.raises(Problem) as caught:
        KeyRing(tmp_path).tenant_of(header)
    assert caught.value.status == 401


@pytest.mark.parametrize("name", ["", "..", "a/b", "Über", "a" * 41])
def test_a_tenant_name_that_could_be_a_path_is_refused(tmp_path: Path, name: str):
    with pytest.raises(UserError, match="tenant"):
        KeyRing(tmp_path).add(name)
