"""Who stands where, and what is refused."""

from pathlib import Path

import pytest

from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.sizing import Part, PlacementError, RoleMemory, check_fit, estimate, place
from caig_rl.sizing.memory import GIB

CONFIGS = Path(__file__).parents[2] / "configs"


def config(gpus: int | None, memory: float | None = 80, **shares: float) -> Config:
    pools = {name: {"num_gpus": shares.get(name, 0.0)} for name in ("policy", "renderer", "scorer")}
    return Config.model_validate(
        {"pools": pools, "learner": {"num_gpus": shares.get("learner", 0.0)}, "cluster": {"gpus": gpus, "gpu_memory_gib": memory}}
    )


def role(name: str, gib: float, share: float | None = None) -> RoleMemory:
    return RoleMemory(name, "some model", (Part("parameters", int(gib * GIB), ""),), share)


def test_shares_of_one_gpu_stand_together_and_whole_workers_alone():
    gpus = place(config(2, learner=1, policy=0.5, renderer=0.5))
    assert [gpu.workers for gpu in gpus] == [["learner"], ["policy", "renderer"]]


def test_more_gpus_than_the_cluster_has_are_refused_with_the_sum():
    with pytest.raises(PlacementError, match=r"learner 1 x 1 \+ policy 1 x 1 .* = 3 GPUs, and cluster.gpus is 2"):
        place(config(2, learner=1, policy=1, renderer=1))


def test_shares_that_add_up_but_cannot_be_cut_are_refused():
    with pytest.raises(PlacementError, match=r"no GPU has 0\.6 left for a renderer"):
        place(config(2, learner=0.6, policy=0.6, renderer=0.6))


def test_without_a_limit_there_are_as_many_gpus_as_are_asked_for():
    assert len(place(config(None, learner=1, policy=1))) == 2


def test_workers_that_do_not_fit_on_their_gpu_are_refused_with_the_arithmetic():
    settings = config(1, 24, learner=0.5, renderer=0.5)
    with pytest.raises(PlacementError, match=r"(?s)would hold 30.0 GiB \(learner, renderer\).*learner on some model: 20.0 GiB"):
        check_fit(settings, {"learner": role("learner", 20), "renderer": role("renderer", 10)}, place(settings))


def test_vllm_takes_its_share_whatever_it_needs():
    settings = config(1, 24, policy=0.5, renderer=0.5)
    with pytest.raises(PlacementError, match="would hold 25"):
        check_fit(settings, {"policy": role("policy", 2, share=0.9), "renderer": role("renderer", 4)}, place(settings))


def test_a_share_that_is_less_than_what_vllm_needs_is_refused():
    settings = config(1, 24, policy=1)
    with pytest.raises(PlacementError, match="gpu_memory_utilization"):
        check_fit(settings, {"policy": role("policy", 20, share=0.5)}, place(settings))


@pytest.mark.parametrize("name", ["llava16-7b-paper", "qwen25-vl-7b", "smolvlm-500m"])
def test_every_production_config_fits_where_it_says_and_not_on_a_quarter_of_it(name: str):
    settings = load_config(CONFIGS / f"{name}.yaml")
    memory = estimate(settings)
    assert set(memory) == {"learner", "policy", "renderer", "scorer"}
    check_fit(settings, memory, place(settings))
    smaller = load_config(CONFIGS / f"{name}.yaml", [f"cluster.gpu_memory_gib={settings.cluster.gpu_memory_gib / 4}"])
    with pytest.raises(PlacementError):
        check_fit(smaller, memory, place(smaller))


def test_the_embedded_models_are_sized_from_their_own_folders():
    memory = estimate(load_config(CONFIGS / "demo.yaml"))
    assert memory["policy"].part("parameters") == pytest.approx(10.4e6, rel=0.1)
    assert "unet 4.82 M" in memory["renderer"].parts[0].how


def test_a_worker_without_a_gpu_has_its_cache_in_main_memory_and_only_the_pages_that_gradients_touch():
    memory = estimate(load_config(CONFIGS / "demo.yaml", ["policy.kv_cache_gib=3"]))
    assert not any(role.on_gpu for role in memory.values())
    assert memory["policy"].part("kv cache") == 3 * GIB and memory["policy"].part("cuda graphs") == 0
    assert memory["policy"].taken_bytes(80 * GIB) == memory["policy"].needed_bytes
    assert memory["learner"].part("buckets") == memory["learner"].part("gradients")
    shared = estimate(load_config(CONFIGS / "demo.yaml", ["learner.num_gpus=1"]))
    assert [name for name, role in shared.items() if role.on_gpu] == ["learner"]
    assert shared["learner"].part("buckets") == 5e8 * 4


def test_a_model_that_is_nowhere_is_left_out():
    settings = load_config(CONFIGS / "llava16-7b-paper.yaml", ["policy.architecture=null"])
    assert set(estimate(settings)) == {"renderer", "scorer"}
