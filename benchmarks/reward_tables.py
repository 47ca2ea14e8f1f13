"""How good each reward model is, and which pairs teach most, where the truth is known: `python benchmarks/reward_tables.py`.

Table 1: pairwise accuracy on held-out products of the click world, 5,000 impressions a creative, over seeds, with 95 % t-intervals: the
per-image scorer, the paper's side-by-side form, VAM, CG4CTR, a zero-shot judge (the embedded policy behind a local vLLM endpoint), random
and constant scores; and the ceiling, the accuracy of the true CTRs on the same noisy labels.
Table 2: the side-by-side form trained on equally many pairs of each pair policy, at 1,000 and at 20,000 impressions a creative.

Products and scenes are drawn, not rendered; a seed draws scenes, clicks, splits and new weights; the world's tastes are the same. Models
start from a reader: the embedded policy, whose vision tower was taught to see scenes, alone and side by side (no clicks). At the embedded
models' size the side-by-side form sees each creative at 32 px, the others at 64. Every cell is kept, in a folder of --out that is named
after the plan, and not computed again. Two cells run at a time, one thread each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from local_judge import local_endpoint
from reward_world import TINY, WORLD, Log, Plan, accuracy, cached_log, sides, true_labels

from caig_rl.config.reward import ClicksConfig, JudgeConfig, RewardTrainConfig
from caig_rl.data.clicks.pairs import POLICIES
from caig_rl.imaging.views import judge_view
from caig_rl.learning.reward.in_memory import facts_of, train_in_memory
from caig_rl.learning.reward.pairs import RewardPairs, by_policy
from caig_rl.learning.reward.rows import RewardRows
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward.judge import RewardJudge
from caig_rl.models.reward.loading import load_reward
from caig_rl.models.reward.side_by_side import SideBySideReward
from caig_rl.nano.corpus import READING, draw_corpus
from caig_rl.nano.reward import LoggedCreatives, reward_groups
from caig_rl.nano.seeing import teach_backbone
from caig_rl.statistics import t_interval

SIZES = {"scorer": 64, "side_by_side": 32, "vam": 64, "cg4ctr": 64}
TABLE_1_IMPRESSIONS, TABLE_2_IMPRESSIONS = 5000, (1000, 20_000)


def form_cell(out: Path, plan: Plan, form: str, seed: int) -> dict[str, Any]:
    """Table 1, one trained form on one seed."""
    log = cached_log(out, plan, seed, TABLE_1_IMPRESSIONS)
    groups = _at_size(log, SIZES[form])
    epochs = plan.epochs if form in ("scorer", "side_by_side") else plan.small_epochs
    config = RewardTrainConfig(form=form, image_size=SIZES[form], epochs=epochs, patience=epochs, **_rates(form))
    facts = facts_of(groups, log.splits["train"], log.prior())
    folder, tests = out / f"model-{form}-{seed}", log.splits
    train_in_memory(config, ClicksConfig(), facts, out / "reader", (groups, tests["train"]), (groups, tests["validation"]), seed, folder)
    return _measured(log, folder)


def pairs_cell(out: Path, plan: Plan, policy: str, impressions: int, seed: int) -> dict[str, Any]:
    """Table 2, one policy at one number of impressions on one seed: as many pairs as the policy that keeps fewest."""
    log = cached_log(out, plan, seed, impressions)
    groups, rows, every = _at_size(log, SIZES["side_by_side"]), log.rows(), log.pairs("train")
    kept = {name: by_policy(every, rows, name) for name in POLICIES}
    size = min(plan.most_pairs, *(len(pairs) for pairs in kept.values()))
    chosen = np.random.default_rng([seed, 5]).permutation(len(kept[policy]))[:size]
    # Each pair is a test of its own, so that what is drawn is pairs, not products.
    alone = _as_tests(groups, rows, kept[policy], chosen)
    config = RewardTrainConfig(
        form="side_by_side", image_size=SIZES["side_by_side"], epochs=plan.pair_epochs, patience=plan.pair_epochs, **_rates("pairs")
    )
    clicks = ClicksConfig(policy="posterior" if policy == "posterior" else "all")
    facts = facts_of(groups, log.splits["train"], log.prior())
    folder = out / f"model-{policy}-{impressions}-{seed}"
    train_in_memory(config, clicks, facts, out / "reader", (alone, np.arange(size)), (groups, log.splits["validation"]), seed, folder)
    return _measured(log, folder) | {"pairs": size, "kept": len(kept[policy]), "of": len(every)}


def judge_cell(out: Path, plan: Plan, seed: int, url: str, model: str) -> dict[str, Any]:
    """Table 1, the zero-shot judge on one seed's first held-out pairs, asked in both orders."""
    log = cached_log(out, plan, seed, TABLE_1_IMPRESSIONS)
    every = log.pairs("heldout")
    drawn = np.zeros(len(every), dtype=bool)
    drawn[np.random.default_rng(seed).permutation(len(every))[: plan.judged_pairs]] = True
    pairs = every.where(drawn)
    products, first, second = sides(log, pairs)
    # A model this small would say anything but left or right.
    config = JudgeConfig(url=url, model=model, image_size=64, requests_per_minute=60_000.0, concurrency=16, structured_outputs=True)
    judge = RewardJudge(config)
    one, other = judge.verdicts(products, first, second), judge.verdicts(products, second, first)
    verdict = (one - other) / 2.0
    told = np.isfinite(verdict)
    faults = {str(fault): count for fault, count in judge.endpoint.faults.items()}
    found: dict[str, Any] = {"asked": len(pairs), "answered": int(told.sum()), "faults": faults}
    if told.any():
        found |= {"accuracy": accuracy(verdict[told], pairs.label[told]), "flips": float(np.mean(one[told] == other[told]))}
    return found


def untrained_cell(out: Path, plan: Plan, seed: int) -> dict[str, Any]:
    """Table 1: random and constant scores, and the ceiling."""
    log = cached_log(out, plan, seed, TABLE_1_IMPRESSIONS)
    pairs = log.pairs("heldout")
    noise = np.random.default_rng([seed, 6]).standard_normal(len(log.clicks))
    scores = {"random": noise, "constant": np.zeros(len(log.clicks)), "ceiling": log.true_ctr}
    return {name: accuracy(values[pairs.first] - values[pairs.second], pairs.label) for name, values in scores.items()}


def _measured(log: Log, folder: Path) -> dict[str, Any]:
    pairs, model = log.pairs("heldout"), load_reward(folder)
    products, first, second = sides(log, pairs)
    found: dict[str, Any] = {"pairs_measured": int(np.sum(pairs.label != 0.5)), "cpu_s": time.process_time()}
    said = model.compare(products, first, second)
    found |= {"accuracy": accuracy(said, pairs.label), "true_order": accuracy(said, true_labels(log, pairs))}
    found["ceiling"] = accuracy(true_labels(log, pairs) - 0.5, pairs.label)
    if isinstance(model, SideBySideReward):
        one, other = model.left_log_odds(products, first, second), model.left_log_odds(products, second, first)
        found |= {"flips": float(np.mean(np.sign(one) == np.sign(other))), "one_order": accuracy(one, pairs.label)}
    return found


def _at_size(log: Log, size: int) -> dict[str, list[Any]]:
    """The log in `GROUP_SCHEMA` columns, pictures scaled."""
    views = [judge_view(view, size) for view in log.creatives.views]
    return reward_groups(LoggedCreatives(log.creatives.products, views, log.creatives.prompts), log.impressions, log.clicks)


def _as_tests(groups: dict[str, list[Any]], rows: RewardRows, pairs: RewardPairs, chosen: np.ndarray) -> dict[str, list[Any]]:
    per_product = len(groups["images"][0])
    tests: dict[str, list[Any]] = {name: [] for name in groups}
    for first, second in zip(pairs.first[chosen], pairs.second[chosen], strict=True):
        product, places = int(rows.product_index[first]), [int(first) % per_product, int(second) % per_product]
        for name in ("product_id", "title", "category", "description"):
            tests[name].append(groups[name][product])
        tests["images"].append([groups["images"][product][k] for k in places])
        for name in ("impressions", "clicks"):
            tests[name].append(groups[name][product][places])
    return tests


def _rates(form: str) -> dict[str, Any]:
    """Chosen beforehand, on seed 100, the same for all policies. Small steps for the forms that begin with a reader."""
    lr = {"scorer": 1.5e-4, "side_by_side": 3e-4, "pairs": 3e-4}.get(form, 1e-3)
    size = {"scorer": 8, "side_by_side": 8, "pairs": 16}.get(form, 24)
    return {"lr": lr, "batch_size": size, "warmup_share": 0.1}


def make_reader(out: Path, plan: Plan) -> dict[str, Any]:
    """The embedded policy, taught to see scenes."""
    import torch
    from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

    torch.set_num_threads(2)
    policy = resolve_model_folder("nano", "policy")
    model, processor = Idefics3ForConditionalGeneration.from_pretrained(policy), Idefics3Processor.from_pretrained(policy)
    corpus = draw_corpus(plan.corpus, 1, READING, min(plan.corpus, 2800))

    def show_progress(stage: str, step: int, steps: int, loss: float) -> None:
        print(f"{stage} {step}/{steps} loss {loss:.3f}", flush=True)

    teach_backbone(model, processor, corpus, (plan.seeing_steps, plan.pair_seeing_steps), 0, show_progress)
    model.save_pretrained(out / "reader")
    processor.save_pretrained(out / "reader")
    return {"cpu_s": time.process_time()}


def plan_folder(out: Path, plan: Plan) -> Path:
    """Where cells of this plan and of these rates are kept: one computed by others would be another figure under the same name."""
    rates = {form: _rates(form) for form in (*SIZES, "pairs")}
    told = json.dumps([asdict(plan), rates, SIZES, TABLE_1_IMPRESSIONS, TABLE_2_IMPRESSIONS, WORLD], sort_keys=True)
    return out / f"plan-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def kept(out: Path, name: str, cell: Any, *arguments: Any) -> dict[str, Any]:
    """A cell's figures, computed unless they are there."""
    file = out / f"{name}.json"
    if not file.exists():
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(cell(*arguments), indent=1) + "\n", encoding="utf-8")
        partial.replace(file)
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def computed(out: Path, cells: dict[str, tuple[Any, ...]], workers: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, figures) of each cell, in the order in which they are done; in this process where `workers` is 0."""
    if not workers:
        for name, cell in cells.items():
            yield name, kept(out, name, *cell)
        return
    missing = {name: cell for name, cell in cells.items() if not (out / f"{name}.json").exists()}
    yield from ((name, kept(out, name, *cell)) for name, cell in cells.items() if name not in missing)
    # One cell a process: a DeepSpeed engine's memory goes with it.
    with get_context("spawn").Pool(workers, _one_thread, maxtasksperchild=1) as pool:
        yield from pool.imap_unordered(_named, [(out, name, *cell) for name, cell in missing.items()])


def _named(cell: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    return cell[1], kept(*cell)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def main() -> None:
    """Compute what is missing, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/reward_tables"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=2, help="cells at a time; 0: one, in this process")
    parser.add_argument("--tiny", action="store_true", help="show that it runs")
    parser.add_argument("--no-judge", action="store_true", help="leave the judge out: no vLLM server")
    options = parser.parse_args()
    seeds, plan = options.seeds, TINY if options.tiny else Plan()
    out = plan_folder(options.out, plan)
    out.mkdir(parents=True, exist_ok=True)
    kept(out, "reader", make_reader, out, plan)
    cells: dict[str, tuple[Any, ...]] = {f"{form}-{seed}": (form_cell, out, plan, form, seed) for form in SIZES for seed in seeds}
    cells |= {f"untrained-{seed}": (untrained_cell, out, plan, seed) for seed in seeds}
    for shown in TABLE_2_IMPRESSIONS:
        cells |= {f"{policy}-{shown}-{seed}": (pairs_cell, out, plan, policy, shown, seed) for policy in POLICIES for seed in seeds}
    found: dict[str, dict[str, Any]] = {}
    for name, figures in computed(out, cells, options.workers):
        found[name] = figures
        print(f"{len(found)}/{len(cells)} {name}", flush=True)
    if not options.no_judge:
        missing = [seed for seed in seeds if not (out / f"judge-{seed}.json").exists()]
        if missing:
            with local_endpoint(out / "judge-server.log") as endpoint:
                for seed in missing:
                    kept(out, f"judge-{seed}", judge_cell, out, plan, seed, *endpoint)
        found |= {f"judge-{seed}": json.loads((out / f"judge-{seed}.json").read_text(encoding="utf-8")) for seed in seeds}
    print_forms(found, seeds)
    print_policies(found, seeds)


def print_forms(found: dict[str, dict[str, Any]], seeds: list[int]) -> None:
    """Table 1."""
    ceiling = [found[f"untrained-{seed}"]["ceiling"] for seed in seeds]
    measured = found[f"scorer-{seeds[0]}"]["pairs_measured"]
    print(
        f"\nHeld-out pairwise accuracy, {TABLE_1_IMPRESSIONS:,} impressions a creative, {len(seeds)} seeds, about {measured:,} pairs each"
    )
    print(f"{'reward model':16s} {'accuracy':>8s}   {'95 % interval':16s} {'to ceiling':>10s} {'flips in one order':>19s}")
    for name in (*SIZES, "judge", "random", "constant", "ceiling"):
        rows = [found.get(f"{name}-{seed}") or {} for seed in seeds]
        if name in ("random", "constant", "ceiling"):
            rows = [{"accuracy": found[f"untrained-{seed}"][name]} for seed in seeds]
        values = [row["accuracy"] for row in rows if "accuracy" in row]
        flips = [row["flips"] for row in rows if "flips" in row]
        if len(values) == len(seeds):
            way = np.mean([(value - 0.5) / (top - 0.5) for value, top in zip(values, ceiling, strict=True)])
            turned = f"{np.mean(flips):19.1%}" if flips else ""
            print(f"{name:16s} {np.mean(values):8.1%}   {_interval(values):16s} {way:10.1%} {turned}")
        if name == "judge" and any(rows):
            asked, told = (sum(row[key] for row in rows) for key in ("asked", "answered"))
            print(f"{'':16s} the judge gave a verdict on {told} of {asked} pairs; faults: {[row['faults'] for row in rows]}")


def print_policies(found: dict[str, dict[str, Any]], seeds: list[int]) -> None:
    """Table 2."""
    for shown in TABLE_2_IMPRESSIONS:
        size, of = (int(np.mean([found[f"all-{shown}-{seed}"][key] for seed in seeds])) for key in ("pairs", "of"))
        print(f"\nside_by_side after about {size:,} pairs of each policy, {shown:,} impressions a creative, {len(seeds)} seeds")
        print(f"{'pair policy':16s} {'keeps':>6s} {'accuracy':>8s}   {'95 % interval':16s} {'true order':>10s}   {'95 % interval':16s}")
        for policy in POLICIES:
            rows = [found[f"{policy}-{shown}-{seed}"] for seed in seeds]
            seen, true = ([row[key] for row in rows] for key in ("accuracy", "true_order"))
            share = np.mean([row["kept"] for row in rows]) / of
            print(f"{policy:16s} {share:6.1%} {np.mean(seen):8.1%}   {_interval(seen):16s} {np.mean(true):10.1%}   {_interval(true):16s}")
        ceilings = [found[f"all-{shown}-{seed}"]["ceiling"] for seed in seeds]
        print(f"{'ceiling':16s} {'':6s} {np.mean(ceilings):8.1%}   {_interval(ceilings):16s} {1.0:10.1%}")


def _interval(values: list[float]) -> str:
    if len(values) < 2:
        return "one seed"
    low, high = t_interval(values)
    return f"{low:.1%} to {high:.1%}"


if __name__ == "__main__":
    main()
