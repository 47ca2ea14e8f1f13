"""What a newcomer does: starts the service, asks for creatives with curl, and does the same on the studio page, in headless Chromium.

    python -m benchmarks.studio_tour [--out build/studio]      # about 3 minutes; pictures of the page, to be looked at

The service is the demo's, with the embedded models. Promised: curl gets ranked creatives whose pictures open, the page shows as many with
prompt and predicted CTR, one approved there is chosen for a visitor and its click is counted in the table, and nothing complains in the
browser's console. The page is photographed on a desk, side by side, and as a phone shows it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import httpx

from benchmarks.chromium import Page, find_browser, open_page
from benchmarks.http_load import product_picture
from benchmarks.promises import Promises
from benchmarks.service_process import ServiceProcess
from caig_rl.serving.keys import KeyRing

CANDIDATES = 4
PATIENCE_S = 90.0


def by_curl(address: str, key: str, picture: Path) -> dict[str, Any]:
    """The call of docs/serving.md."""
    command = ["curl", "-sS", "--fail-with-body", "-H", f"Authorization: Bearer {key}", "-F", f"image=@{picture}"]
    command += ["-F", "title=crimson mug", "-F", "category=mug", "-F", f"candidates={CANDIDATES}", f"{address}/v1/creatives"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check_curl(promises: Promises, address: str, found: dict[str, Any]) -> None:
    """Ranked, and their pictures open."""
    scores = [one["score"] for one in found["creatives"]]
    pictures = [httpx.get(address + one["image_url"], timeout=30.0) for one in found["creatives"]]
    good = scores == sorted(scores, reverse=True) and all(one.headers.get("content-type") == "image/png" for one in pictures)
    words = f"{len(scores)} creatives, {len(found['left_out'])} left out; predicted CTR "
    words += ", ".join(f"{one['predicted_ctr']:.2%}" for one in found["creatives"])
    promises.check("curl gets ranked creatives", bool(scores) and good, words)


def visit(page: Page, address: str, key: str, picture: Path, out: Path) -> int:
    """Make creatives on the page and approve the best; returns how many appeared."""
    page.size(1280, 900)
    page.open(f"{address}/#key={key}")
    page.wait("document.getElementById('live').textContent.includes('base')")
    page.choose_file("#image", picture)
    page.run("document.getElementById('title').focus()")
    page.type("crimson mug")
    page.run("document.getElementById('submit').click()")
    page.wait("document.querySelector('#cards .card')", PATIENCE_S)
    page.wait("document.querySelector('#cards .card:not(.waiting)') && !document.getElementById('submit').disabled", PATIENCE_S)
    loaded = "[...document.querySelectorAll('#cards img')].every(one => one.complete && one.naturalWidth === 512)"
    page.wait(loaded, PATIENCE_S)
    appeared = page.run("document.querySelectorAll('#cards .card .prompt').length")
    page.screenshot(out / "studio.png")
    page.run("[...document.querySelectorAll('#cards .pick input')].slice(0, 2).forEach(one => one.click())")
    if appeared > 1:
        page.run("document.getElementById('compare-open').click()")
        page.wait("[...document.querySelectorAll('#compare-cards img')].every(one => one.complete)")
        page.screenshot(out / "compare.png")
        page.run("document.getElementById('compare').close()")
    page.run("document.querySelector('#cards .approve').click()")
    page.wait("document.querySelectorAll('#rows tr').length === 1")
    return int(appeared)


def shop(address: str, key: str, product_id: str) -> None:
    """A visitor sees what was approved, and clicks."""
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=30.0) as http:
        chosen = http.get(f"/v1/products/{product_id}/creative", params={"visitor": "first"}).raise_for_status().json()
        events = [{"impression_id": chosen["impression_id"], "kind": kind} for kind in ("impression", "click")]
        http.post("/v1/events", json={"events": events}).raise_for_status()


def main() -> int:
    """Walk through it and say what was kept."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("build/studio"))
    given = parser.parse_args()
    browser = find_browser()
    if browser is None:
        parser.error("no Chromium on this machine: apt-get install chromium")
    given.out.mkdir(parents=True, exist_ok=True)
    promises = Promises()
    with tempfile.TemporaryDirectory(prefix="caig-rl-tour-") as name:
        folder, root = Path(name), Path(name) / "serving"
        picture = folder / "mug.png"
        picture.write_bytes(product_picture())
        key = KeyRing(root).add("demo")
        with ServiceProcess(root) as service:
            check_curl(promises, service.address, by_curl(service.address, key, picture))
            with open_page(browser, folder / "profile") as page:
                appeared = visit(page, service.address, key, picture, given.out)
                promises.check("the page shows creatives with prompt and predicted CTR", appeared > 0, f"{appeared} of {CANDIDATES}")
                product_id = page.run("document.querySelector('#rows tr').dataset.product")
                shop(service.address, key, product_id)
                page.wait("document.querySelector('#rows tr')?.children[2].textContent === '1'", PATIENCE_S)
                row = page.run("document.querySelector('#rows tr').innerText.replace(/\\s+/g, ' ')")
                promises.check("a click is counted in the table", True, row)
                page.screenshot(given.out / "running.png", whole=True)
                page.size(375, 740, phone=True)
                page.screenshot(given.out / "phone.png", whole=True)
                promises.check("the browser's console is quiet", not page.complaints, f"{page.complaints}")
            stopped_with = service.stop()
    promises.check("SIGTERM ends the service in good order", stopped_with == 0, f"exit code {stopped_with}")
    print("look at " + ", ".join(str(given.out / file) for file in ("studio.png", "compare.png", "running.png", "phone.png")))
    return promises.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
