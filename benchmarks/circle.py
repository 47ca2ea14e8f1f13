"""The circle, walked once: serve -> clicks -> reward -> policy -> serve, through the commands and the HTTP calls that an operator uses.

    python -m benchmarks.circle [--products 96] [--impressions 1000] [--rounds 8] [--folder FOLDER] [--out build/circle.json]
    python -m benchmarks.circle --quick          # every step, too small to find a difference

1. A service with the embedded models makes creatives for the shop's products, all by the first policy.
2. Shoppers of the click world come to the shop: for each impression the service chooses, the shopper sees the picture that the service
   hands out, clicks or does not by their taste, and both are reported to the service.
3. `serve log`, `data pairs`, `reward train`: the reward model that the service ranks by is taught on with those clicks (six each: from
   those alone none is learned). `train`: a policy by the taught reward model alone.
4. `serve promote`: live, without a restart. The service makes creatives for the same products again, and shows them to as many shoppers.

The exit code is 1 unless the true CTR of what is served is higher in the end, interval excluding 0. What is made lies in --folder, which is
kept; without it in a folder of its own, kept only where the walk failed.

Compared by product: the true CTR of the first impressions of either policy, when the service knew as little of its creatives.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from benchmarks.promises import Promises
from benchmarks.service_process import CAIG, REPOSITORY, ServiceProcess
from caig_rl.serving.keys import KeyRing
from caig_rl.statistics import paired_interval
from caig_rl.types import Product
from caig_rl.world.judge import WorldJudge
from caig_rl.world.products import WorldProducts
from caig_rl.world.tastes import SEGMENT_SHARES, SEGMENTS

WORLD_SEED = 0
CANDIDATES = 4
SEEDS_TRIED = 6
SHOPPERS_AT_ONCE = 16
EVENTS_AT_ONCE = 100
EXPLORATION = 0.3
"""Share of impressions spread evenly, under either policy: a shop that wants to learn from its losers too."""
TEACH_ON = [f"reward.train.{setting}" for setting in ("start_from=nano", "lr=3e-5", "batch_size=4", "epochs=20", "patience=6")]
"""The service's own reward model goes on, in small steps."""
VISITS = 3
"""Impressions a visitor."""


@dataclass(frozen=True)
class Traffic:
    """What the shop's visitors saw, in order of time."""

    product: np.ndarray
    """(N,) number of the product."""
    ctr: np.ndarray
    """(N,) true CTR, over all shoppers, of the creative that was shown."""
    clicks: int

    def by_product(self, products: int, first: int) -> np.ndarray:
        """(products,) mean true CTR of the first impressions of each."""
        return np.array([self.ctr[self.product == number][:first].mean() for number in range(products)])


class Shop:
    """A shop that shows the service's creatives, and its shoppers."""

    def __init__(self, http: httpx.AsyncClient, products: Sequence[Product], pictures: Sequence[bytes]) -> None:
        self._http, self._products, self._pictures = http, products, pictures
        self._judge = WorldJudge(WORLD_SEED)
        self._tastes: dict[str, np.ndarray] = {}
        """Creative id -> true CTR in each segment."""

    async def order(self, seed: int) -> set[str]:
        """Creatives for every product; returns the policy versions that made them."""
        versions = set()
        for number, (product, picture) in enumerate(zip(self._products, self._pictures, strict=True)):
            body = {name: getattr(product, name) for name in ("product_id", "title", "category", "description")}
            body |= {"image": base64.b64encode(picture).decode(), "candidates": CANDIDATES, "seed": seed + number}
            answer = await self._http.post("/v1/creatives", json=body)
            for turn in range(1, SEEDS_TRIED):
                if answer.status_code != 422:
                    break
                # None of the candidates can be shown: asked again with another seed, as the answer advises.
                answer = await self._http.post("/v1/creatives", json=body | {"seed": seed + number + turn * 1_000_000})
            versions.add(answer.raise_for_status().json()["policy_version"])
        return versions

    async def open(self, impressions: int, seed: int) -> Traffic:
        """`impressions` of each product, in random order, to shoppers of all segments."""
        rng = np.random.default_rng((seed, 5))
        whose = rng.permutation(np.repeat(np.arange(len(self._products)), impressions))
        segments = rng.choice(len(SEGMENTS), size=len(whose), p=SEGMENT_SHARES)
        luck, seen, clicked = rng.random(len(whose)), np.full(len(whose), np.nan), np.zeros(len(whose), dtype=bool)
        coming = iter(range(len(whose)))

        async def shopper() -> None:
            events: list[dict[str, str]] = []
            for number in coming:
                visitor = f"{seed}-{segments[number]}-{number // VISITS}"
                impression_id, tastes = await self._look(int(whose[number]), SEGMENTS[segments[number]], visitor)
                seen[number] = tastes @ np.array(SEGMENT_SHARES)
                clicked[number] = luck[number] < tastes[segments[number]]
                events.append({"impression_id": impression_id, "kind": "impression"})
                events += [{"impression_id": impression_id, "kind": "click"}] if clicked[number] else []
                if len(events) >= EVENTS_AT_ONCE:
                    await self._report(events)
                    events = []
            await self._report(events)

        await asyncio.gather(*(shopper() for _ in range(SHOPPERS_AT_ONCE)))
        return Traffic(whose, seen, int(clicked.sum()))

    async def _look(self, number: int, segment: str, visitor: str) -> tuple[str, np.ndarray]:
        product = self._products[number]
        params = {"visitor": visitor, "segment": segment}
        answer = (await self._http.get(f"/v1/products/{product.product_id}/creative", params=params)).raise_for_status().json()
        creative_id = answer["creative_id"]
        if creative_id not in self._tastes:
            content = (await self._http.get(answer["image_url"])).raise_for_status().content
            picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
            self._tastes[creative_id] = self._judge.segment_ctrs([product], [picture])[0]
        return answer["impression_id"], self._tastes[creative_id]

    async def _report(self, events: Sequence[dict[str, str]]) -> None:
        answer = (await self._http.post("/v1/events", json={"events": events})).raise_for_status().json()
        if answer["refused"]:
            raise RuntimeError(f"{answer['refused']} events were refused: {answer['results']}")


def cut_outs(products: WorldProducts) -> Iterator[bytes]:
    """The products' pictures, PNG with alpha, as a merchant uploads them."""
    for cutout in products.cutouts([product.product_id for product in products.products]):
        out = io.BytesIO()
        Image.fromarray(cutout.rgba).save(out, "PNG")
        yield out.getvalue()


def command(*words: str) -> None:
    """A command of caig-rl's, its output shown. Raises where it fails."""
    print("$ caig-rl", *words, flush=True)
    subprocess.run([*CAIG, *words], cwd=REPOSITORY, check=True)


def learn(folder: Path, root: Path, rounds: int, seed: int) -> Path:
    """From the service's own log to a run; returns its folder."""
    log, pairs, reward = folder / "log" / "clicks.parquet", f"clicks.out={folder / 'pairs'}", folder / "reward"
    command("serve", "log", "--root", str(root), "--out", str(log))
    clicks = [f"clicks.path={log}", pairs, f"clicks.images={root}", f"run.seed={seed}"]
    # Few products: enough of them must be left to stop the training by.
    command("data", "pairs", *clicks, "clicks.min_impressions=20", "clicks.validation_share=0.2", "clicks.heldout_share=0.05")
    command("reward", "train", *clicks, f"reward.train.out={reward}", *TEACH_ON, "cluster.num_cpus=2")
    run = [f"run.root={folder / 'runs'}", "run.name=circle", f"run.seed={seed}", f"reward.model={reward}", f"rollout.rounds={rounds}"]
    command("train", "configs/demo.yaml", *run, "evaluation.products=8", "evaluation.gallery=2")
    return folder / "runs" / "circle"


@dataclass(frozen=True)
class Walked:
    """What the circle came to."""

    products: int
    impressions: int
    """Of each product under the first policy, and what the reward model learned from."""
    clicks: int
    compared: int
    """First impressions of each product that are compared."""
    versions: tuple[str, str]
    before: float
    """True CTR of what was served."""
    after: float
    interval: tuple[float, float]
    """95 %, of the difference, paired by product."""


def walk(folder: Path, products: int, impressions: int, compared: int, rounds: int, seed: int, overrides: Sequence[str] = ()) -> Walked:
    """All of it, in `folder`, which must be fresh; the service runs with `overrides` of its config."""
    root, source = folder / "serving", WorldProducts(WORLD_SEED, products, "train")
    key, pictures = KeyRing(root).add("shop"), list(cut_outs(source))

    def visit(address: str, shown: int, turn: int) -> tuple[set[str], Traffic]:
        async def visits() -> tuple[set[str], Traffic]:
            async with httpx.AsyncClient(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=90.0) as http:
                shop = Shop(http, source.products, pictures)
                return await shop.order(seed), await shop.open(shown, seed + turn)

        return asyncio.run(visits())

    with ServiceProcess(root, ["serve.approval=rules", f"serve.choice.exploration={EXPLORATION}", *overrides]) as service:
        (first,), before = visit(service.address, impressions, 0)
        print(f"{first}: {before.ctr.mean():.3%} true CTR over {len(before.ctr):,} impressions, {before.clicks:,} clicks", flush=True)
        run = learn(folder, root, rounds, seed)
        command("serve", "promote", str(run), "--root", str(root))
        (second,), after = visit(service.address, compared, 1)
        if code := service.stop():
            raise RuntimeError(f"the service ended with {code} on SIGTERM; see {service.log}")
    old, new = (traffic.by_product(products, compared) for traffic in (before, after))
    low, high = paired_interval(old, new)
    return Walked(
        products, impressions, before.clicks, compared, (first, second), float(old.mean()), float(new.mean()), (float(low), float(high))
    )


def main() -> int:
    """Walk it and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--products", type=int, default=96)
    parser.add_argument("--impressions", type=int, default=1000, help="of each product, for the reward model to learn from")
    parser.add_argument("--compared", type=int, default=100, help="first impressions of each product that are compared")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="24 products, 200 impressions, 2 rounds")
    parser.add_argument("--folder", type=Path, help="where all that is made is kept; without it, none of it is")
    parser.add_argument("--out", type=Path, default=Path("build/circle.json"))
    given = parser.parse_args()
    if given.quick:
        given.products, given.impressions, given.compared, given.rounds = 24, 200, 40, 2
    if given.folder is not None and given.folder.exists():
        parser.error(f"{given.folder} is there already; remove it, or name another --folder")
    folder = given.folder.resolve() if given.folder else Path(tempfile.mkdtemp(prefix="caig-rl-circle-"))
    print(f"in {folder}", flush=True)
    # What so few clicks teach may well be worse, and a promotion would rightly refuse it.
    overrides = ["serve.promotion_margin=100"] if given.quick else []
    found = walk(folder, given.products, given.impressions, given.compared, given.rounds, given.seed, overrides)
    if given.folder is None:
        shutil.rmtree(folder)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(asdict(found), indent=1) + "\n")
    lift = found.after / found.before - 1.0
    print(f"true CTR of what is served: {found.before:.3%} by {found.versions[0]}, {found.after:.3%} by {found.versions[1]} ({lift:+.1%})")
    promises = Promises()
    words = f"{found.interval[0]:+.3%} to {found.interval[1]:+.3%} (95 %, paired by product)"
    if given.quick:
        print(f"difference {words}: too small to judge by")
    else:
        promises.check("the true CTR of what is served is higher than under the first policy", found.interval[0] > 0.0, words)
    print(f"wrote {given.out}")
    return promises.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
