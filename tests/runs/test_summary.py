from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from caig_rl.errors import UserError
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import RunSummary, read_summary, write_summary

PROMISED = {
    "": "seed rounds policy_version products ctr relevance reward policy throughput time sync peak_memory_gib",
    "products": "admitted trained failed expired tied rejected",
    "ctr": "initial final lift ci95 ceiling",
    "relevance": "initial final",
    "reward": "heldout_accuracy ceiling",
    "policy": "kl distinct_prompts",
    "throughput": "pairs_per_s images_per_s tokens_per_s",
    "time": "total_s stages",
    "sync": "count verified",
}


def test_the_file_has_every_promised_key(run_folder: RunFolder, summary_values: Callable[..., dict[str, Any]]) -> None:
    write_summary(RunSummary.model_validate(summary_values()), run_folder)
    written = json.loads(run_folder.read_text("summary.json"))
    for part, keys in PROMISED.items():
        assert set(keys.split()) <= set(written[part] if part else written)
    assert list(written["time"]["stages"]) == ["policy", "render", "score", "learn", "sync", "idle"]
    assert written["products"]["failed"] == {"unusable": 1, "render_error": 1}


def test_a_summary_reads_back_as_written(run_folder: RunFolder, summary_values: Callable[..., dict[str, Any]]) -> None:
    summary = RunSummary.model_validate(summary_values(rounds_detail=[{"round": 0, "loss": 1.4, "learning_rate": 1e-3}]))
    write_summary(summary, run_folder)
    assert read_summary(run_folder) == summary


def test_ctr_is_null_where_nobody_judges(summary_values: Callable[..., dict[str, Any]]) -> None:
    assert json.loads(RunSummary.model_validate(summary_values(ctr=None)).model_dump_json())["ctr"] is None


def test_reading_a_folder_without_a_summary_names_the_file(run_folder: RunFolder) -> None:
    with pytest.raises(UserError, match=r"summary\.json is missing"):
        read_summary(run_folder)


PRODUCTS = {"admitted": 3, "trained": 2, "failed": {"unusable": 1}, "expired": 0, "tied": 0, "rejected": {"image_missing": 9}}
CTR = {"initial": 0.02, "final": 0.025, "lift": 0.25, "ci95": (0.1, 0.4)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"products": PRODUCTS | {"tied": 1}}, "admitted is 3, but the outcomes add up to 4"),
        ({"products": PRODUCTS | {"in_flight": 2}}, "2 admissions have no outcome"),
        ({"ctr": CTR | {"lift": 0.2}}, r"lift is 0\.2"),
        ({"ctr": CTR | {"ci95": (0.4, 0.1)}}, "low, high"),
        ({"ctr": CTR | {"ceiling": float("nan")}}, "finite"),
        ({"sync": {"count": 3, "verified": 4}}, "4 syncs verified of 3"),
        ({"reward": {"heldout_accuracy": 71.0, "ceiling": None}}, "less than or equal to 1"),
        ({"misspelt": 1}, "misspelt"),
    ],
)
def test_a_summary_that_contradicts_itself_is_refused(
    changes: dict[str, Any], words: str, summary_values: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(ValidationError, match=words):
        RunSummary.model_validate(summary_values(**changes))


def test_a_running_run_may_have_admissions_in_flight(summary_values: Callable[..., dict[str, Any]]) -> None:
    summary = RunSummary.model_validate(summary_values(status="running", products=PRODUCTS | {"in_flight": 2}))
    assert summary.products.in_flight == 2
