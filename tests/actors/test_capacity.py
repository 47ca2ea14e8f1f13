"""What is refused before anything starts."""

import pytest

from actors.capacity import CapacityError, Node, refuse_what_the_cluster_lacks
from caig_rl.config.schema import Config


def config(**learner: object) -> Config:
    pools = {name: {"num_cpus": 1, "num_gpus": 1} for name in ("policy", "renderer", "scorer")}
    return Config.model_validate({"pools": pools, "learner": {"num_cpus": 1, "num_gpus": 1, **learner}})


BIG = Node({"CPU": 64, "GPU": 8}, {"role": "learner"})


def test_a_run_that_fits_is_let_through():
    refuse_what_the_cluster_lacks(config(), [BIG])


def test_more_gpus_than_there_are_is_refused_with_the_sum():
    with pytest.raises(CapacityError, match=r"learner 8 x 1 \+ policy 1 x 1 .* = 11 GPUs, and the cluster has 8 on 1 node"):
        refuse_what_the_cluster_lacks(config(world_size=8), [BIG])


def test_cpus_are_counted_with_the_short_tasks():
    with pytest.raises(CapacityError, match=r"tasks 1 x 0\.1 = 4\.1 CPUs, and the cluster has 4 "):
        refuse_what_the_cluster_lacks(config(), [Node({"CPU": 4, "GPU": 8})])


def test_one_worker_larger_than_any_node_is_refused():
    with pytest.raises(CapacityError, match="no node has room for a single learner"):
        refuse_what_the_cluster_lacks(config(num_cpus=10), [Node({"CPU": 8, "GPU": 4}), Node({"CPU": 8, "GPU": 4})])


def test_a_label_that_no_node_carries_is_refused_with_the_labels_there_are():
    with pytest.raises(CapacityError, match=r"on a node with role=trainer.*role=learner"):
        refuse_what_the_cluster_lacks(config(node_labels={"role": "trainer"}), [BIG])


def test_a_cluster_that_grows_is_left_to_grow():
    settings = config(world_size=8).model_copy(update={"cluster": config().cluster.model_copy(update={"autoscaling": True})})
    refuse_what_the_cluster_lacks(settings, [])
