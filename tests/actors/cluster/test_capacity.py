"""What is refused before anything starts."""

import pytest

from actors.cluster.capacity import CapacityError, Need, Node, needs, refuse, refuse_more_than_the_most
from caig_rl.config.schema import Config


def config(**learner: object) -> Config:
    pools = {name: {"num_cpus": 1, "num_gpus": 1} for name in ("policy", "renderer", "scorer")}
    return Config.model_validate({"pools": pools, "learner": {"num_cpus": 1, "num_gpus": 1, **learner}})


BIG = Node({"CPU": 64, "GPU": 8}, {"role": "learner"})


def test_a_run_that_fits_is_let_through():
    refuse(needs(config()), [BIG])


def test_more_gpus_than_there_are_is_refused_with_the_sum():
    with pytest.raises(CapacityError, match=r"learner 8 x 1 \+ policy 1 x 1 .* = 11 GPUs, and the cluster has 8 on 1 node"):
        refuse(needs(config(world_size=8)), [BIG])


def test_cpus_are_counted_with_the_short_tasks():
    with pytest.raises(CapacityError, match=r"tasks 1 x 0\.1 = 4\.1 CPUs, and the cluster has 4 "):
        refuse(needs(config()), [Node({"CPU": 4, "GPU": 8})])


def test_one_worker_larger_than_any_node_is_refused():
    with pytest.raises(CapacityError, match="no node has room for a single learner"):
        refuse(needs(config(num_cpus=10)), [Node({"CPU": 8, "GPU": 4}), Node({"CPU": 8, "GPU": 4})])


def test_a_label_that_no_node_carries_is_refused_with_the_labels_there_are():
    with pytest.raises(CapacityError, match=r"on a node with role=trainer.*role=learner"):
        refuse(needs(config(node_labels={"role": "trainer"})), [BIG])


def test_the_nodes_of_a_label_are_counted_for_those_that_ask_for_it_however_much_others_have():
    small = Node({"CPU": 64, "GPU": 1}, {"role": "learner"})
    settings = config(world_size=2, node_labels={"role": "learner"}, batch_size=16)
    with pytest.raises(CapacityError, match=r"learner 2 x 1 = 2 GPUs, and the cluster has 1 on 1 node\(s\) with role=learner"):
        refuse(needs(settings), [small, Node({"CPU": 64, "GPU": 8}, {"role": "rollout"})])


def test_room_that_adds_up_but_cannot_be_cut_into_workers_is_refused():
    halves = [Node({"CPU": 3}) for _ in range(4)]
    with pytest.raises(CapacityError, match=r"5 x painter \(2 CPU each\): the nodes have room for 1 \+ 1 \+ 1 \+ 1 = 4 of them"):
        refuse([Need("painter", 5, {"CPU": 2})], halves)


def test_a_role_that_reserves_nothing_fits_on_any_node():
    refuse([Need("watcher", 3, {"CPU": 0.0, "GPU": 0.0})], [Node({"CPU": 1})])


def test_a_cluster_that_grows_is_refused_only_what_it_can_never_hold():
    wanted = needs(config(world_size=8, batch_size=16))
    refuse_more_than_the_most(wanted, None)
    refuse_more_than_the_most(wanted, {"CPU": 64, "GPU": 11})
    with pytest.raises(CapacityError, match=r"learner 8 x 1 \+ .* = 11 GPUs, and the cluster grows to 10\."):
        refuse_more_than_the_most(wanted, {"CPU": 64, "GPU": 10})
