"""The studio page as a person uses it, in the system's Chromium: by mouse, by keyboard alone, and on a phone."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.chromium import Page, find_browser, open_page
from caig_rl.serving.events.impressions import read_impression
from caig_rl.serving.events.reported_events import Event
from tests.serving.http.test_app import World, photo
from tests.serving.local_server import served

TAB, ENTER, SPACE, ESCAPE = ("Tab", 9), ("Enter", 13), (" ", 32), ("Escape", 27)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "root", banned_words="beach")


@pytest.fixture
def page(world: World, tmp_path: Path) -> Iterator[Page]:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with served(world.client.app) as address, open_page(browser, tmp_path / "profile") as page:
        page.size(1280, 900)
        page.address = address  # type: ignore[attr-defined]
        key = world.client.headers["Authorization"].removeprefix("Bearer ")
        page.open(f"{address}/#key={key}")
        page.wait("document.getElementById('live').textContent.includes('v1')")
        yield page
    assert page.complaints == []


def upload(page: Page, tmp_path: Path, title: str = "red mug") -> None:
    (tmp_path / "mug.png").write_bytes(photo())
    page.choose_file("#image", tmp_path / "mug.png")
    page.run("document.getElementById('title').focus()")
    page.type(title)


def finished(page: Page, number: int) -> None:
    page.wait(f"document.querySelectorAll('#cards .card:not(.waiting)').length === {number} && !document.getElementById('submit').disabled")


def focused(page: Page) -> str:
    return str(page.run("(document.activeElement.ariaLabel || document.activeElement.textContent || document.activeElement.id).trim()"))


def tab_to(page: Page, what: str, most: int = 60) -> None:
    seen = []
    for _ in range(most):
        page.press(*TAB)
        name, identity = focused(page), page.run("document.activeElement.id")
        seen.append(identity or name)
        if what in (identity, name) or (what and name.startswith(what)):
            return
    raise AssertionError(f"{what!r} cannot be reached by Tab: {seen}")


def test_a_dropped_photo_becomes_ranked_creatives_with_prompt_and_predicted_ctr(page: Page, tmp_path: Path):
    upload(page, tmp_path)
    assert page.run("document.getElementById('preview').naturalWidth") == 120
    page.run("document.getElementById('submit').click()")
    finished(page, 4)
    assert page.run("[...document.querySelectorAll('#cards .prompt')].map(one => one.textContent)") == [
        "a garden",
        "a wall",
        "a beach",
        "a table",
    ]
    assert page.run("document.querySelector('#cards .best strong').textContent") == "1.30 %"
    page.wait("[...document.querySelectorAll('#cards img')].every(one => one.complete && one.naturalWidth === 40)")
    assert "beach" in page.run("document.querySelector('#cards .state-refused').parentElement.textContent")
    assert page.run("document.querySelectorAll('#queue-cards .card').length") in (0, 3)
    page.wait("document.querySelectorAll('#queue-cards .card').length === 3")


def test_a_download_is_the_picture_that_the_service_keeps(page: Page, world: World, tmp_path: Path):
    upload(page, tmp_path)
    page.run("document.getElementById('submit').click()")
    finished(page, 4)
    link = page.run(
        "(() => { const one = document.querySelector('#cards a[download]'); return [one.getAttribute('href'), one.download] })()"
    )
    assert link[1].endswith(".png")
    assert Image.open(io.BytesIO(world.client.get(link[0]).content)).size == (40, 40)


def test_everything_works_by_keyboard_alone(page: Page, world: World, tmp_path: Path):
    (tmp_path / "mug.png").write_bytes(photo())
    tab_to(page, "image")
    page.choose_file("#image", tmp_path / "mug.png")  # what Enter and the file dialog do
    tab_to(page, "title")
    page.type("red mug")
    page.press(*ENTER, text="\r")
    finished(page, 4)
    for prompt in ("a garden", "a wall"):
        tab_to(page, f'Compare the creative "{prompt}"')
        page.press(*SPACE, text=" ")
    assert page.run("document.getElementById('compare-bar').hidden") is False
    tab_to(page, "compare-open")
    page.press(*ENTER, text="\r")
    assert page.run("document.getElementById('compare').open")
    assert page.run("document.querySelectorAll('#compare-cards .card').length") == 2
    page.press(*ESCAPE)
    assert page.run("document.getElementById('compare').open") is False
    page.run("document.getElementById('title').focus()")
    tab_to(page, 'Approve the creative "a garden"')
    page.press(*ENTER, text="\r")
    page.wait("document.querySelectorAll('#rows tr').length === 1")
    assert [one.status for one in world.service.store.all("acme")].count("approved") == 1


def test_after_a_decision_in_the_queue_the_focus_is_on_its_neighbour(page: Page, world: World, tmp_path: Path):
    upload(page, tmp_path)
    page.run("document.getElementById('submit').click()")
    finished(page, 4)
    page.wait("document.querySelectorAll('#queue-cards .card').length === 3")
    page.run("document.querySelector('#queue-cards .card .reject').focus()")
    page.press(*ENTER, text="\r")
    page.wait("document.querySelectorAll('#queue-cards .card').length === 2")
    assert page.run("Boolean(document.activeElement.closest('#queue-cards'))")
    for left in (1, 0):
        page.run("document.querySelector('#queue-cards .card .reject').focus()")
        page.press(*ENTER, text="\r")
        page.wait(f"document.querySelectorAll('#queue-cards .card').length === {left}")
    assert page.run("document.activeElement.id") == "queue"
    assert [one.status for one in world.service.store.all("acme")].count("rejected") == 3


def test_a_running_creative_is_stopped_and_runs_again_from_the_table(page: Page, world: World):
    creative_id = world.make(candidates="1").json()["creatives"][0]["creative_id"]
    world.approve(creative_id)
    world.events({"impression_id": world.choose("v").json()["impression_id"], "kind": "impression"})
    world.now += 5
    page.wait("document.querySelector('#rows tr .reject')")
    page.run("document.querySelector('#rows tr .reject').click()")
    page.wait("document.querySelector('#rows tr .approve')?.textContent === 'Run again'")
    assert world.choose("w").json()["code"] == "nothing_approved"
    page.run("document.querySelector('#rows tr .approve').click()")
    page.wait("document.querySelector('#rows tr .reject')?.textContent === 'Stop'")
    assert world.choose("w").json()["creative_id"] == creative_id


def test_product_id_and_seed_are_sent_where_they_are_given_and_their_faults_are_said_beside_them(page: Page, world: World, tmp_path: Path):
    upload(page, tmp_path)
    page.run("document.getElementById('submit').click()")
    finished(page, 4)
    assert world.maker.orders[-1].product.product_id.startswith("p-")
    page.run("document.getElementById('seed').value = '-1'")
    page.run("document.getElementById('submit').click()")
    page.wait("document.getElementById('seed-error').textContent")
    assert page.run("document.getElementById('more').open")
    page.complaints.clear()  # the browser logs every 4xx
    page.run("document.getElementById('seed').value = '7'")
    page.run("document.getElementById('product_id').value = 'sku 12'")
    page.run("document.getElementById('submit').click()")
    page.wait("document.querySelector('#cards .small-print')?.textContent.includes('product sku 12')")
    finished(page, 4)
    order = world.maker.orders[-1]
    assert (order.product.product_id, order.seed) == ("sku 12", 7)


def test_an_answer_that_is_cut_off_and_a_service_that_is_gone_are_said(page: Page, world: World, tmp_path: Path):
    world.maker.left_out = {1: "product_changed"}
    upload(page, tmp_path)
    page.run("document.getElementById('submit').click()")
    finished(page, 3)
    assert "1 left out (product changed)" in page.run("document.getElementById('status').textContent")
    line = json.dumps(json.dumps({"type": "start", "product_id": "p", "policy_version": "v1", "seed": 1, "candidates": 2}) + "\n")
    cut_off = f"(...call) => call[1]?.method === 'POST' ? Promise.resolve(new Response({line})) : window.real(...call)"
    page.run(f"(() => {{ window.real = window.fetch; window.fetch = {cut_off} }})()")
    page.run("document.getElementById('submit').click()")
    page.wait("document.getElementById('form-error').textContent.startsWith('The connection ended')")
    page.run("window.fetch = async () => { throw new TypeError('down') }")
    page.wait("!document.getElementById('notice').hidden")
    assert "cannot be reached" in page.run("document.getElementById('notice').textContent")
    page.run("window.fetch = window.real")


def test_what_is_wrong_is_said_beside_its_field_and_takes_the_focus(page: Page, tmp_path: Path):
    page.run("document.getElementById('submit').click()")
    assert "photo" in page.run("document.getElementById('image-error').textContent")
    (tmp_path / "noise.png").write_bytes(noise())
    page.choose_file("#image", tmp_path / "noise.png")
    page.run("document.getElementById('submit').click()")
    assert "what the product is" in page.run("document.getElementById('title-error').textContent")
    assert focused(page) == "title" or page.run("document.activeElement.id") == "title"
    page.type("mug")
    page.run("document.getElementById('submit').click()")
    page.wait("document.getElementById('image-error').textContent")
    assert page.run("document.getElementById('image-error').textContent").startswith("No product found")
    assert page.run("document.getElementById('image').ariaInvalid") == "true"
    page.complaints.clear()  # the browser logs every 4xx


def test_a_prompt_with_markup_is_shown_as_text(page: Page, world: World, tmp_path: Path):
    world.maker.prompts = ["<img src=x onerror=alert(1)><b>bold</b>"]
    upload(page, tmp_path, title="<script>alert(1)</script>")
    page.run("document.getElementById('submit').click()")
    finished(page, 4)
    assert page.run("document.querySelector('#cards .prompt').textContent") == world.maker.prompts[0]
    assert page.run("document.querySelectorAll('#cards .prompt *').length") == 0


def test_the_table_follows_the_clicks(page: Page, world: World, tmp_path: Path):
    best = world.make(candidates="1").json()["creatives"][0]["creative_id"]
    world.approve(best)
    shown = [read_impression(world.choose(f"v{number}").json()["impression_id"], world.service.signer) for number in range(60)]
    world.now += 5
    world.events(*({"impression_id": world.choose("w").json()["impression_id"], "kind": "click"} for _ in range(3)))
    world.service._events._log.append([Event("impression", one, one.time) for one in shown])
    world.now += 5
    page.wait("document.querySelector('#rows tr')?.children[1].textContent === '63'")
    assert page.run("document.querySelector('#rows tr').children[2].textContent") == "3"
    assert page.run("document.querySelector('#rows tr').children[3].textContent").startswith("4.76 %")


def test_on_a_phone_nothing_lies_outside_and_buttons_are_large_enough(page: Page, tmp_path: Path):
    page.size(375, 740, phone=True)
    upload(page, tmp_path)
    page.run("document.getElementById('submit').click()")
    finished(page, 4)
    page.run("document.querySelector('#cards .approve').click()")
    page.wait("document.querySelectorAll('#rows tr').length === 1")
    assert page.run("document.documentElement.scrollWidth") == 375
    small = "[...document.querySelectorAll('main button, main a.button')].filter(one => one.getBoundingClientRect().height < 40).length"
    assert page.run(small) == 0


def test_without_a_key_the_page_asks_for_one_and_a_wrong_one_is_said(page: Page, world: World):
    page.run("sessionStorage.clear()")
    page.open("about:blank")
    page.open(page.address)  # type: ignore[attr-defined]
    page.wait("document.getElementById('key-dialog').open")
    page.type("wrong")
    page.press(*ENTER, text="\r")
    page.wait("document.getElementById('key-error').textContent")
    page.complaints.clear()  # the browser logs every 4xx
    page.run("document.getElementById('key').value = ''")
    page.type(world.client.headers["Authorization"].removeprefix("Bearer "))
    page.press(*ENTER, text="\r")
    page.wait("!document.getElementById('key-dialog').open")
    assert "key" not in page.run("location.href")


def noise() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (120, 120, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()
