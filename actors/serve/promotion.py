"""A new policy version goes live: taken in whole, verified on the service's own engines, compared on held-out products, switched to."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fsspec
import numpy as np
import torch
from ray import serve

from actors.checkpoints.store import MANIFEST, CheckpointStore
from actors.serve.creative_maker import RayMaker
from actors.serve.deployment_plan import NAME
from actors.serve.lifecycle import connected
from actors.serve.version_switch import Switch, switch
from actors.weights.verification import CANARY_ANSWER, CANARY_INSTRUCTION, canary_view
from caig_rl.config.schema import Config
from caig_rl.errors import CheckpointError, UserError
from caig_rl.interfaces import ProductSource
from caig_rl.models.logprobs import answer_log_probs
from caig_rl.models.policy import load_policy
from caig_rl.models.prompting import chat_prompt
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.result_checkpoint import result_step
from caig_rl.serving.creatives.maker_interface import Order
from caig_rl.serving.log import service_log
from caig_rl.serving.versions import VersionRecord, VersionStore, check_name, folder_digest, promoted
from caig_rl.statistics import Interval, paired_interval

logger = logging.getLogger(__name__)

_COMPARED_AT_ONCE = 3
_CANDIDATES = 2


@dataclass(frozen=True, slots=True)
class Comparison:
    """The new version against the live one on held-out products, same seeds and noise."""

    products: int
    live: float
    """Mean reward, log-odds."""
    new: float
    interval: Interval
    """95 % of the mean difference, new minus live, paired by product."""


@dataclass(frozen=True, slots=True)
class Promoted(Switch):
    """What changed, and what it was allowed by."""

    comparison: Comparison


def promote(
    root: Path, run: str, name: str | None, traffic: float, source: Callable[[Config], ProductSource], note: Callable[[str], None]
) -> Promoted:
    """Bring RUN[@STEP] live for `traffic` of the visitors.

    Args:
        root: the service's folder.
        run: a run folder, with "@STEP" for another checkpoint than that of its result, or the newest where it is not done.
        name: of the version; None: run name and step.
        traffic: 1 for all visitors, less to try it beside the live version.
        source: held-out products, given the service's configuration.
        note: told what is being done.

    Raises:
        UserError: no service runs; the checkpoint is cut short or damaged; the version does not verify, or is worse on held-out products.
    """
    with connected(root) as settings, service_log(root, "operator", settings["logs"]["level"]):
        config = Config.model_validate(settings)
        versions = VersionStore(root)
        routing = versions.routing()
        record = take_in(versions, run, name, config, note)
        new_routing = promoted(routing, record.name, traffic)
        note(f"verifying {record.name} on the service's policy")
        comparison = asyncio.run(_verified(config, source(config), routing.live, record.name, note))
        facts = {"policy_version": record.name, "live": routing.live, "reward": comparison.new, "live_reward": comparison.live}
        logger.info("compared %s with %s on %d products", record.name, routing.live, comparison.products, extra=facts)
        if comparison.new < comparison.live - config.serve.promotion_margin:
            raise UserError(
                f"version {record.name} is not promoted: on {comparison.products} held-out products its mean reward is "
                f"{comparison.new:+.3f}, {routing.live} has {comparison.live:+.3f}; that is more than serve.promotion_margin "
                f"({config.serve.promotion_margin:g}) worse."
            )
        switched = switch(root, settings, new_routing)
        return Promoted(switched.routing, switched.seconds, comparison)


def take_in(versions: VersionStore, run: str, name: str | None, config: Config, note: Callable[[str], None]) -> VersionRecord:
    """Copy a checkpoint's policy into the service's folder, with its hash and its canary log-probs.

    Raises:
        UserError: there is no such checkpoint, it is cut short or damaged, or the name is taken by other weights.
    """
    path, _, step_text = run.partition("@")
    folder = RunFolder(*_split(path))
    step = _step(folder, step_text)
    note(f"reading checkpoint {step} of {folder.url}")
    with _policy_folder(folder, step) as policy:
        chosen = check_name(name or f"{folder.name}-{step}")
        tokens, log_probs = _canary(policy, config)
        record = VersionRecord(chosen, f"{folder.url}@{step}", folder_digest(policy), tokens, log_probs)
        versions.add(record, policy)
    return record


def _split(path: str) -> tuple[str, str]:
    head, _, tail = path.rstrip("/").rpartition("/")
    return head or ".", tail


def _step(folder: RunFolder, text: str) -> int:
    steps = [step for step in CheckpointStore(folder, 1).steps() if folder.exists(f"checkpoints/{step}/{MANIFEST}")]
    if not steps:
        raise CheckpointError(f"{folder.url} holds no complete checkpoint; is it the folder of a run?")
    if not text:
        text = str(steps[-1] if (chosen := result_step(folder)) is None else chosen)
    if not text.isdigit() or int(text) not in steps:
        raise CheckpointError(f"{folder.url} has no complete checkpoint {text!r}; there are: {', '.join(map(str, steps))}.")
    return int(text)


@contextmanager
def _policy_folder(folder: RunFolder, step: int) -> Iterator[Path]:
    """A local copy of the checkpoint's policy, each file compared with the manifest."""
    files = json.loads(folder.read_text(f"checkpoints/{step}/{MANIFEST}"))["files"]
    with tempfile.TemporaryDirectory() as staging:
        copy = Path(staging) / "policy"
        filesystem, base = fsspec.core.url_to_fs(f"{folder.checkpoint_path(step)}/policy")
        filesystem.get(f"{base}/", f"{copy}/", recursive=True)
        for name, digest in files.items():
            inside = name.removeprefix("policy/")
            if inside != name and (not (copy / inside).is_file() or hashlib.sha256((copy / inside).read_bytes()).hexdigest() != digest):
                raise CheckpointError(f"{folder.checkpoint_path(step)} is damaged: {name} is missing or not what was written.")
        yield copy


def _canary(policy: Path, config: Config) -> tuple[tuple[int, ...], tuple[float, ...]]:
    model, processor = load_policy(policy, getattr(torch, config.policy.dtype), config.policy.trust_remote_code)
    tokens = tuple(processor.tokenizer(CANARY_ANSWER, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        found = answer_log_probs(
            model, processor, [chat_prompt(processor, CANARY_INSTRUCTION)], [canary_view(config.policy.image_size)], [tokens]
        )
    return tokens, tuple(found.tokens[0].tolist())


async def _verified(config: Config, source: ProductSource, live: str, new: str, note: Callable[[str], None]) -> Comparison:
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # it tells of its handles' inner life
    policy, painter, scorer = (serve.get_deployment_handle(one, app_name=NAME) for one in ("Policy", "Painter", "Scorer"))
    try:
        await policy.verify.remote(new)
    except Exception as error:  # whatever the replica raised comes wrapped by Ray; nothing was switched yet
        raise UserError(f"version {new} does not verify on the service's policy: {_last_line(error)}") from error
    maker = RayMaker(policy, painter, scorer, config, "")
    products = list(source.products)
    order = np.random.default_rng([config.run.seed, len(products)]).permutation(len(products))[: config.serve.promotion_products]
    chosen = [products[int(index)] for index in order]
    cutouts = source.cutouts([product.product_id for product in chosen])
    note(f"comparing {new} with {live} on {len(chosen)} held-out products")
    rewards = []
    for version in (live, new):
        orders = [
            Order(product, cutout, _CANDIDATES, seed, version) for seed, (product, cutout) in enumerate(zip(chosen, cutouts, strict=True))
        ]
        rewards.append(await _mean_rewards(maker, orders))
    both = [(before, after) for before, after in zip(*rewards, strict=True) if before is not None and after is not None]
    if len(both) < 2:
        raise UserError(f"only {len(both)} of {len(chosen)} held-out products gave creatives under both versions; give more of them.")
    before, after = (np.array(column) for column in zip(*both, strict=True))
    return Comparison(len(both), float(before.mean()), float(after.mean()), paired_interval(before, after))


async def _mean_rewards(maker: RayMaker, orders: Sequence[Order]) -> list[float | None]:
    places = asyncio.Semaphore(_COMPARED_AT_ONCE)

    async def one(order: Order) -> float | None:
        async with places:
            scores = [made.score async for made in maker.make(order) if not made.left_out]
        return float(np.mean(scores)) if scores else None

    return list(await asyncio.gather(*(one(order) for order in orders)))


def _last_line(error: BaseException) -> str:
    return str(error).strip().rsplit("\n", 1)[-1]
