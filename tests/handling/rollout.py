"""What handles the faults of workers, of what they hold, and of their nodes."""

from __future__ import annotations

from tests.handling.removal import Removal

WORKER = (
    Removal(
        "worker",
        "a dead worker is replaced",
        "actors/rollout/worker_pool.py",
        "            self.replaced += 1\n            self._adjust()\n",
        "            self.replaced += 1\n",
        "actors/rollout/test_worker_pool.py::test_a_dead_worker_is_replaced_and_its_call_reported_lost",
    ),
    Removal(
        "worker",
        "its shard is issued again",
        "actors/rollout/pipeline.py",
        "            except (RayError, WorkerLost) as error:\n",
        "            except RayError as error:\n",
        "actors/rollout/test_pipeline.py::test_a_shard_that_loses_its_worker_is_issued_again_whole",
    ),
    Removal(
        "worker",
        "an idle worker is asked whether it lives",
        "actors/rollout/worker_pool.py",
        "if worker.health.takes_work and worker not in self._asked:",
        "if False:",
        "actors/rollout/test_worker_pool.py::test_the_death_of_an_idle_worker_is_found_before_a_call_pays_for_it",
    ),
    Removal(
        "worker",
        "its replacement holds the current weights before it serves",
        "actors/rollout/worker_pool.py",
        "                if self._prepare is not None:\n",
        "                if self._prepare is not None and not self.replaced:\n",
        "actors/rollout/test_worker_pool.py::test_a_replacement_takes_no_work_before_it_holds_the_current_version",
    ),
)

NODE = (
    Removal(
        "node",
        "what went with it is not held against the shard",
        "actors/rollout/pipeline.py",
        "                faults += not is_the_machines(error)\n",
        "                faults += 1\n",
        "actors/rollout/test_pipeline.py::test_what_is_lost_with_a_node_is_not_held_against_the_shard",
    ),
    Removal(
        "node",
        "workers that die with it while they start are not held against the pool",
        "actors/rollout/worker_pool.py",
        "        self._failed_starts += not went_with_its_node(error)\n",
        "        self._failed_starts += 1\n",
        "actors/rollout/test_worker_pool.py::test_workers_that_die_with_their_node_while_they_start_are_not_held_against_the_pool",
    ),
    Removal(
        "node",
        "one that is being drained is left by its workers",
        "actors/rollout/fleet.py",
        "                await pool.leave_nodes(gone)\n",
        "                pass\n",
        "actors/rollout/test_fleet.py::test_every_pool_hears_of_nodes_that_are_being_drained",
    ),
    Removal(
        "node",
        "a worker that finds the live weights gone asks for others",
        "actors/rollout/pipeline.py",
        "                if not isinstance(error.cause, ObjectLostError):\n                    raise\n",
        "                raise\n",
        "actors/rollout/test_pipeline.py::test_a_worker_that_cannot_pull_what_is_live_asks_for_others_and_waits_for_them",
    ),
    Removal(
        "node",
        "weights that went with the learner's node are made again",
        "actors/loop/learning/learner_control.py",
        "            if (lost := await self._weights_lost_before(task)) is not None:\n"
        '                raise LearnerLost(str(lost), "node")\n',
        "            await task\n",
        "actors/loop/learning/test_learner_control.py::test_weights_that_go_away_before_all_workers_pulled_them_are_made_again",
        limit_s=60,
    ),
    Removal(
        "node",
        "pictures that went with a rank's node are loaded again",
        "actors/loop/learning/learner_recovery.py",
        "        run_state.intake.keep_views_of(())\n",
        "",
        "actors/loop/learning/test_learner_control.py::test_pictures_that_may_have_gone_with_the_learners_node_are_loaded_again",
    ),
    Removal(
        "node",
        "the learner's last rank waits for a new one",
        "actors/learner/group.py",
        "max(patience, self._config.cluster.start_timeout_s)",
        "patience",
        "actors/learner/test_group.py::test_a_group_that_has_no_room_goes_on_with_fewer_and_waits_for_its_last_rank_as_at_the_start",
    ),
)

OBJECT = (
    Removal(
        "object",
        "the shard that misses it is issued again without blame",
        "actors/rollout/pipeline.py",
        "isinstance(cause, (ObjectLostError, NodeDiedError))",
        "isinstance(cause, NodeDiedError)",
        "actors/chaos/test_fault_injector.py::test_a_lost_object_is_lost_once_and_looks_like_one_that_went_with_its_node",
    ),
    Removal(
        "object",
        "the learner that misses it is re-formed",
        "actors/learner/rank_health.py",
        "        if isinstance(cause, (RayActorError, ObjectLostError)):\n",
        "        if isinstance(cause, RayActorError):\n",
        "actors/learner/test_rank_health.py::test_what_a_group_cannot_go_on_without_is_told_apart_from_a_failure[a lost picture]",
    ),
    Removal(
        "object",
        "a round goes on without the report's look at its creatives",
        "actors/loop/online_loop.py",
        "        except RayError as error:  # the pictures",
        "        except KeyError as error:  # the pictures",
        "actors/loop/test_online_faults.py::test_creatives_that_go_with_their_node_before_they_are_judged_cost_the_round_a_few_numbers",
    ),
    Removal(
        "object",
        "an evaluation paints them again",
        "actors/evaluation/held_out.py",
        "                if not is_the_machines(error):\n                    raise\n",
        "                raise\n",
        "actors/evaluation/test_held_out.py::test_a_shard_whose_pictures_went_with_their_node_before_they_were_judged_is_rolled_out_again",
    ),
)

SLOW = (
    Removal(
        "slow",
        "a worker that holds work without progress is replaced",
        "actors/rollout/worker_pool.py",
        "                if seconds:\n",
        "                if False:\n",
        "actors/rollout/test_worker_pool.py::test_a_worker_that_holds_work_without_progress_is_replaced_and_its_call_reported_lost",
    ),
    Removal(
        "slow",
        "a run's pools have the config's deadline",
        "actors/rollout/pipeline.py",
        "most=pool.max_workers, patience=patience)",
        "most=pool.max_workers)",
        "actors/rollout/test_pipeline.py::test_every_pool_gives_its_workers_up_after_the_time_that_the_config_names",
    ),
    Removal(
        "slow",
        "a rank has the deadline of a step, not of a start (frozen process)",
        "actors/learner/group.py",
        'recovery.learner_stall_s if method == "train" else max(',
        "max(",
        "actors/learner/test_group.py::test_a_frozen_rank_is_lost_and_the_group_re_formed",
    ),
    Removal(
        "slow",
        "a rank that takes no step is lost",
        "actors/learner/rank_health.py",
        "                _raise_stalled(pace.stalled(still), method)\n",
        "                pass\n",
        "actors/learner/test_rank_health.py::test_a_rank_that_stands_still_is_lost_even_where_the_other_has_answered",
        limit_s=60,
    ),
)

NAN = (
    Removal(
        "nan",
        "a score that is no number is a failure (real reward model)",
        "caig_rl/models/reward/interface.py",
        "    if len(broken):\n",
        "    if False:\n",
        "actors/rollout/workers/test_scorer_worker.py::test_a_score_that_is_no_number_costs_its_product_alone_and_once",
    ),
    Removal(
        "nan",
        "it costs its product alone",
        "actors/rollout/workers/scorer_worker.py",
        "            except RewardError as error:\n",
        "            except KeyError as error:\n",
        "actors/rollout/workers/test_scorer_worker.py::test_a_product_without_a_reward_fails_alone",
    ),
    Removal(
        "nan",
        "the product fails by its own kind",
        "actors/loop/state/rollout_intake.py",
        "        if index in rolled.score.failed:\n",
        "        if False:\n",
        "actors/loop/state/test_rollout_intake.py::test_a_product_without_a_reward_or_with_a_bad_text_fails_by_its_own_kind_and_the_others_are_paired",
    ),
)

POISON = (
    Removal(
        "poison",
        "a shard is not tried for ever",
        "actors/rollout/pipeline.py",
        "                if faults >= self._config.rollout.max_attempts or attempt == MAX_ISSUES:\n",
        "                if attempt == MAX_ISSUES:\n",
        "actors/rollout/test_pipeline.py::test_a_shard_that_costs_a_worker_each_time_is_called_poison",
    ),
    Removal(
        "poison",
        "the product that kills its worker fails alone",
        "actors/rollout/poison_isolation.py",
        "            if len(shard.admissions) == 1:\n",
        "            if True:\n",
        "actors/rollout/test_poison_isolation.py::test_the_product_that_kills_its_worker_fails_alone_and_the_others_go_on_together",
    ),
    Removal(
        "poison",
        "the loop looks for it",
        "actors/loop/online_loop.py",
        "found = await roll_out_or_isolate(rollout, shard)",
        'found = type("Found", (), {"rolled": await rollout(shard), "failed": []})',
        "actors/loop/test_online_faults.py::test_a_product_that_kills_its_workers_fails_as_poison_and_the_rest_of_its_shard_is_paired",
    ),
    Removal(
        "poison",
        "it fails by its own kind",
        "actors/rollout/rolled_out.py",
        'POISON if isinstance(cause, WorkerLost) else f"{stage}_failed"',
        'f"{stage}_failed"',
        "actors/loop/state/test_rollout_intake.py::test_a_poisoned_shard_fails_whole_as_poison_where_it_cost_workers",
    ),
)

REMOVALS = (*WORKER, *NODE, *OBJECT, *SLOW, *NAN, *POISON)
