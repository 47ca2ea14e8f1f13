"""The main job as a user runs it: a command, real vLLM, diffusers, DeepSpeed and Ray, the embedded models."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from caig_rl.types import Outcome

REPOSITORY = Path(__file__).parents[1]
CAIG = str(Path(sys.executable).with_name("caig-rl"))
SMALL = [
    "rollout.rounds=2",
    "rollout.products_per_round=8",
    "rollout.shard_size=4",
    "rollout.candidates=2",
    "evaluation.products=6",
    "evaluation.gallery=2",
    "learner.batch_size=4",
    "learner.micro_batch_size=4",
]


def train(root: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [CAIG, "train", "configs/demo.yaml", f"run.root={root}", *SMALL, *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=560)
    assert not check or done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def accounted(products: dict) -> int:
    return products["trained"] + sum(products["failed"].values()) + products["expired"] + products["tied"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    train(root, "run.name=small")
    return root / "small"


def test_the_summary_has_every_promised_key_and_its_products_add_up(run: Path):
    summary = json.loads((run / "summary.json").read_text())
    promised = {
        "products": {"admitted", "trained", "failed", "expired", "tied", "rejected"},
        "ctr": {"initial", "final", "lift", "ci95", "ceiling"},
        "relevance": {"initial", "final"},
        "reward": {"heldout_accuracy", "ceiling"},
        "policy": {"kl", "distinct_prompts"},
        "creatives": {"painted", "refused", "product_difference"},
        "throughput": {"pairs_per_s", "images_per_s", "tokens_per_s"},
        "time": {"total_s", "stages"},
        "sync": {"count", "verified"},
    }
    assert {"seed", "rounds", "policy_version", "peak_memory_gib", *promised} <= summary.keys()
    for section, keys in promised.items():
        assert keys <= summary[section].keys()
    assert {"policy", "render", "score", "learn", "sync", "idle"} <= summary["time"]["stages"].keys()
    assert summary["products"]["admitted"] == 16 == accounted(summary["products"])
    assert summary["rounds"] == 2
    assert summary["creatives"]["painted"] == 16 * 2
    assert summary["creatives"]["product_difference"] == 0
    assert summary["sync"]["count"] == summary["sync"]["verified"] >= 3
    assert summary["ctr"]["ceiling"] > summary["ctr"]["initial"] > 0.004


def test_every_admission_is_in_the_ledger_once_with_one_outcome(run: Path):
    rows = [row for row in pq.read_table(run / "ledger.parquet").to_pylist() if row["admission_id"] is not None]
    assert sorted(row["admission_id"] for row in rows) == list(range(16))
    assert {row["outcome"] for row in rows} <= {outcome.value for outcome in Outcome}


def test_vllm_and_the_learner_agree_on_the_log_probs_of_what_was_sampled(run: Path):
    gaps = [json.loads(line)["logprob_gap"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(gaps) == 2
    assert max(gaps) < 1e-4


def test_the_run_folder_holds_what_the_design_names(run: Path):
    for name in ("config.yaml", "summary.json", "metrics.jsonl", "ledger.parquet", "report.html", "samples/gallery.json"):
        assert (run / name).is_file(), name
    assert list((run / "pairs").glob("*.parquet"))
    assert list((run / "tensorboard").iterdir())
    assert (run / "checkpoints" / "2" / "manifest.json").is_file()
    assert yaml.safe_load((run / "config.yaml").read_text())["rollout"]["rounds"] == 2
    report = (run / "report.html").read_text()
    assert "simulated" in report.lower()
    assert "data:image/" in report


def test_the_same_run_again_is_refused_with_a_way_out(run: Path):
    again = train(run.parent, "run.name=small", check=False)
    assert again.returncode == 1
    assert "--resume" in again.stderr
    assert "Traceback" not in again.stderr


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> dict:
    root = tmp_path_factory.mktemp("runs")
    train(root, "run.name=still", "learner.lr=0", "rollout.rounds=1", "evaluation.products=16")
    return json.loads((root / "still" / "summary.json").read_text())


def test_without_a_learning_rate_the_final_policy_is_the_initial_one(still: dict):
    assert still["ctr"]["final"] == still["ctr"]["initial"]
    assert still["ctr"]["lift"] == 0
    assert still["relevance"]["final"] == still["relevance"]["initial"]


def test_the_initial_policy_leaves_the_room_to_learn_that_the_world_promises(still: dict):
    assert 1.3 < still["ctr"]["ceiling"] / still["ctr"]["initial"] < 2.0
    assert 0.4 < still["relevance"]["initial"] < 0.7


def test_own_photos_are_accounted_for_and_judged_by_simulated_shoppers(shared_data: Path, tmp_path: Path):
    catalog = shared_data / "catalog" / "products.csv"
    train(tmp_path, "run.name=photos", f"catalog.path={catalog}", "catalog.max_products=10", "rollout.rounds=1")
    summary = json.loads((tmp_path / "photos" / "summary.json").read_text())
    assert summary["products"]["admitted"] == accounted(summary["products"])
    assert summary["creatives"]["painted"] > 0
    assert summary["creatives"]["product_difference"] == 0
    assert summary["simulated"] is True
    assert summary["evaluation"]["held_out"] is False


def test_a_wrong_key_is_answered_with_the_nearest_right_one(tmp_path: Path):
    wrong = train(tmp_path, "learner.learning_rate=1e-4", "rollout.round=3", check=False)
    assert wrong.returncode == 2
    assert "rollout.rounds" in wrong.stderr


def test_a_catalog_without_a_usable_product_fails_with_a_message(tmp_path: Path):
    (tmp_path / "empty.csv").write_text("product_id,title,image\n1,Mug,none.png\n")
    failed = train(tmp_path, f"catalog.path={tmp_path / 'empty.csv'}", check=False)
    assert failed.returncode == 1
    assert "image_missing" in failed.stderr
    assert "Traceback" not in failed.stderr
