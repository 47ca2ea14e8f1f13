"""`caig-rl pretrain`, as a user meets it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from caig_rl.cli import app
from caig_rl.cli.pretrain import learned_from
from caig_rl.config.load import load_config
from caig_rl.imaging.views import save_png
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.policy import load_policy
from caig_rl.world.show import show_world
from tests.conftest import REPOSITORY
from tests.tiny import make_tiny_policy

runner = CliRunner()


def test_prompts_without_captioned_ads_are_refused(tmp_path: Path):
    result = runner.invoke(app, ["pretrain", "pretrain.shares.prompt_generation=1", "world.num_products=2"])
    assert result.exit_code == 1
    assert "pretrain.creatives is empty" in result.stderr


def test_shares_that_ask_for_nothing_are_a_wrong_configuration():
    result = runner.invoke(app, ["pretrain", "pretrain.shares.prompt_generation=0"])
    assert result.exit_code == 2
    assert "pretrain.shares" in result.stderr


def test_the_demo_reads_what_the_world_writes(tmp_path: Path):
    config = load_config(REPOSITORY / "configs" / "pretrain-demo.yaml")
    files = [path.name for path in show_world(tmp_path, 0, 2, 2)]
    assert config.pretrain.creatives is not None and config.catalog.path is not None
    assert {Path(config.pretrain.creatives).name, Path(config.catalog.path).name} <= set(files)


def test_too_many_faulty_captions_stop_before_any_cluster_starts(tmp_path: Path):
    show_world(tmp_path, 0, 2, 2)
    save_png(np.zeros((8, 8, 3), np.uint8), tmp_path / "ad.png")
    (tmp_path / "captions.csv").write_text("product_id,image,caption\nnobody,ad.png,a scene\n")
    result = runner.invoke(
        app,
        [
            "pretrain",
            f"catalog.path={tmp_path / 'products.csv'}",
            f"pretrain.creatives={tmp_path / 'captions.csv'}",
            f"pretrain.out={tmp_path / 'policy'}",
        ],
    )
    assert result.exit_code == 1
    assert "1 product_unknown" in result.stderr


def test_held_out_products_and_their_ads_are_not_learned_from_and_their_ads_are_no_faults(tmp_path: Path):
    show_world(tmp_path, 0, 12, 2)
    paths = [f"catalog.path={tmp_path / 'products.csv'}", f"pretrain.creatives={tmp_path / 'captions.csv'}"]
    said = Console(file=io.StringIO(), width=400)
    settings = load_config(None, [*paths, "catalog.heldout_share=0.3"])
    source, (ads, rejected, read) = learned_from(settings, said)
    trained = {product.product_id for product in source.products}
    assert 0 < len(trained) < 12 and f"{12 - len(trained)} of 12 products are held out" in said.file.getvalue()  # type: ignore[attr-defined]
    assert {ad.product_id for ad in ads} == trained and len(ads) == 2 * len(trained)
    assert (rejected, read) == ([], 24)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_pretraining_job_learns_is_gone_on_with_and_leaves_a_policy(tmp_path: Path):
    show_world(tmp_path / "world", 0, 24, 2)
    out = tmp_path / "policy"
    settings = [
        f"catalog.path={tmp_path / 'world' / 'products.csv'}",
        f"pretrain.creatives={tmp_path / 'world' / 'captions.csv'}",
        f"pretrain.backbone={make_tiny_policy(tmp_path / 'backbone')}",
        f"pretrain.out={out}",
        "policy.max_tokens=120",
        "pretrain.batch_size=16",
        "pretrain.lr=3e-3",
        "pretrain.validation_share=0.2",
        "cluster.num_cpus=2",
        "cluster.object_store_gib=0.2",
    ]
    # A process of its own: this one may be connected to the cluster of other tests.
    for epochs in (1, 3):
        command = [sys.executable, "-m", "caig_rl.cli", "pretrain", *settings, f"pretrain.epochs={epochs}"]
        result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stderr
        assert ("as before" in result.stdout) == (epochs == 3)
    rounds = [json.loads(line) for line in (tmp_path / "policy-job" / "metrics.jsonl").read_text().splitlines()]
    assert [row["round"] for row in rounds] == [1, 2, 3]
    assert rounds[-1]["validation_loss"] < rounds[0]["validation_loss"]
    model, _ = load_policy(resolve_model_folder(str(out), "policy"))
    assert sum(weight.numel() for weight in model.parameters()) > 0
