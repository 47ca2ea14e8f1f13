"""The lines of worker processes, in a real Ray actor."""

import json
from pathlib import Path

import pytest
import ray

from actors.rollout.shard import Shard
from actors.rollout.workers.shard_log import logged
from actors.telemetry.worker_log import begin_worker_log, with_absolute_root
from caig_rl.config.schema import Config
from caig_rl.runs.folder import RunFolder
from caig_rl.types import Admission, Product

SHARD = Shard(
    (Admission(40, 3, "mug", 7), Admission(41, 3, "cup", 8)), (Product("mug", "Mug", "kitchen"), Product("cup", "Cup", "kitchen"))
)


class Painter:
    """A worker that logs."""

    def __init__(self, config: Config) -> None:
        begin_worker_log(config, "renderer")

    @logged
    def paint(self, shard: Shard, colour: str) -> str:
        """Nothing but words."""
        return f"{len(shard.products)} in {colour}"


def config(root: Path) -> Config:
    return Config.model_validate({"run": {"name": "small", "root": str(root)}})


def test_a_method_keeps_its_answer_and_its_signature():
    assert Painter(Config()).paint(SHARD, "red") == "2 in red"
    assert Painter.paint.__name__ == "paint" and Painter.paint.__doc__ == "Nothing but words."


def test_a_relative_root_is_made_absolute_and_a_uri_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert with_absolute_root(config(Path("runs"))).run.root == str(tmp_path / "runs")
    remote = Config.model_validate({"run": {"name": "small", "root": "memory://bucket/runs"}})
    assert RunFolder(with_absolute_root(remote).run.root, "small").url == RunFolder("memory://bucket/runs", "small").url


def test_a_workers_lines_are_in_the_run_folder_with_role_and_admissions(cluster: None, tmp_path: Path):
    RunFolder(str(tmp_path), "small").prepare()
    painter = ray.remote(Painter).options(num_cpus=0).remote(config(tmp_path))
    assert ray.get(painter.paint.remote(SHARD, "red")) == "2 in red"
    ray.kill(painter)
    (file,) = (tmp_path / "small" / "logs").iterdir()
    (line,) = [json.loads(text) for text in file.read_text().splitlines()]
    assert file.name.startswith("renderer-")
    assert (line["run"], line["role"], line["round"], line["admissions"]) == ("small", "renderer", 3, [40, 41])
    assert line["message"].startswith("paint: 2 products in ")


def test_a_worker_that_does_not_see_the_run_folder_makes_none(cluster: None, tmp_path: Path):
    painter = ray.remote(Painter).options(num_cpus=0).remote(config(tmp_path / "elsewhere"))
    assert ray.get(painter.paint.remote(SHARD, "red")) == "2 in red"
    ray.kill(painter)
    assert not (tmp_path / "elsewhere").exists()
