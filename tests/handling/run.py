"""What handles the faults of the learner, the driver and the disk."""

from __future__ import annotations

from tests.handling.removal import Removal

RANK = (
    Removal(
        "rank",
        "its death is told apart from a failure",
        "actors/learner/rank_health.py",
        "        if isinstance(cause, (RayActorError, ObjectLostError)):\n",
        "        if isinstance(cause, ObjectLostError):\n",
        "actors/learner/test_rank_health.py::test_what_a_group_cannot_go_on_without_is_told_apart_from_a_failure[a dead rank]",
    ),
    Removal(
        "rank",
        "the group is re-formed in mid-round",
        "actors/loop/learning/learner_control.py",
        "            except LearnerLost as error:\n                await self._bring_back(error)\n            else:\n",
        "            except LearnerLost:\n                raise\n            else:\n",
        "actors/loop/learning/test_learner_control.py::test_rounds_trained_since_the_checkpoint_are_marked_and_replayed_and_each_pair_stays_in_the_weights_once",
    ),
    Removal(
        "rank",
        "rounds since the checkpoint are marked and replayed",
        "actors/loop/learning/learner_recovery.py",
        "        await self._replay(step or 0, incarnation)\n",
        "",
        "actors/loop/learning/test_learner_control.py::test_rounds_trained_since_the_checkpoint_are_marked_and_replayed_and_each_pair_stays_in_the_weights_once",
    ),
    Removal(
        "rank",
        "a pair that the journal has lost is an error",
        "actors/loop/learning/round_training.py",
        "        if missing:\n",
        "        admission_ids = [one for one in admission_ids if one in found]\n        if False:\n",
        "actors/loop/learning/test_learner_control.py::test_a_pair_that_the_journal_has_lost_is_not_passed_over_in_silence",
    ),
    Removal(
        "rank",
        "what it saved half is cleared before the new group saves",
        "actors/loop/learning/learner_control.py",
        "                await asyncio.to_thread(self._store.discard, self._run_state.rounds_done)\n",
        "",
        "actors/loop/learning/test_learner_control.py::test_a_learner_lost_while_it_saves_leaves_nothing_of_its_own_in_the_checkpoint_of_the_next",
    ),
    Removal(
        "rank",
        "the group goes on with fewer ranks (two real ranks)",
        "actors/learner/group.py",
        "        *larger, least = group_sizes(learner.world_size, learner.batch_size)\n",
        "        *larger, least = [learner.world_size]\n",
        "actors/learner/test_group.py::test_a_lost_rank_is_told_apart_and_the_group_goes_on_with_one",
        limit_s=400,
    ),
)

DRIVER = (
    Removal(
        "driver",
        "a resume goes on from the newest checkpoint (SIGKILL, whole command)",
        "actors/loop/online_loop.py",
        "self.store.newest(self._fingerprint, self._progress.note) if resume else None",
        "None",
        "actors/loop/test_driver_loss.py::test_a_driver_killed_in_mid_round_goes_on_from_its_checkpoint_and_each_pair_is_learned_once",
        limit_s=560,
    ),
    Removal(
        "driver",
        "shards in flight in the checkpoint are issued again (SIGKILL, whole command)",
        "actors/loop/online_loop.py",
        "                self._open_round(number, run_state.shards_in_flight(number), group)\n",
        "                self._open_round(number, [], group)\n",
        "actors/loop/test_driver_loss.py::test_a_driver_killed_in_mid_round_goes_on_from_its_checkpoint_and_each_pair_is_learned_once",
        limit_s=560,
    ),
    Removal(
        "driver",
        "the data cursor goes on where it was",
        "actors/loop/state/run_state.py",
        "        self._cursor.position = state.cursor_position\n",
        "",
        "actors/loop/state/test_run_state.py::test_a_run_state_restored_in_mid_round_goes_on_as_if_nothing_had_happened",
    ),
    Removal(
        "driver",
        "a resume is an incarnation of its own",
        "actors/loop/state/run_state.py",
        "PolicyVersion(state.version.incarnation + 1, state.version.number)",
        "state.version",
        "actors/loop/state/test_run_state.py::test_a_run_state_restored_in_mid_round_goes_on_as_if_nothing_had_happened",
    ),
)

DISK = (
    Removal(
        "disk",
        "a checkpoint that cannot be written costs a note",
        "actors/loop/checkpoint_writer.py",
        "        except (OSError, RayTaskError) as error:\n",
        "        except RayTaskError as error:\n",
        "actors/chaos/test_fault_injector.py::test_a_checkpoint_that_cannot_be_written_costs_a_note_and_the_last_one_the_run",
    ),
    Removal(
        "disk",
        "half a checkpoint gives its place back",
        "actors/checkpoints/store.py",
        "            await asyncio.to_thread(self.discard, step)\n            raise\n",
        "            raise\n",
        "actors/checkpoints/test_store.py::test_a_save_that_fails_leaves_no_checkpoint_of_its_step",
    ),
    Removal(
        "disk",
        "the old state counts until the new one is whole",
        "actors/checkpoints/store.py",
        'self._seal(step, manifest["state"] + 1,',
        'self._seal(step, manifest["state"],',
        "actors/checkpoints/test_store.py::test_an_update_cut_short_leaves_the_state_before_it",
    ),
    Removal(
        "disk",
        "a run told to stop still stops well",
        "actors/loop/checkpoint_writer.py",
        "            except OSError as error:  # a full disk",
        "            except KeyError as error:  # a full disk",
        "actors/loop/test_online_faults.py::test_a_run_told_to_stop_on_a_full_disk_still_stops_well_and_keeps_the_checkpoint_it_has",
    ),
)

TORN = (
    Removal(
        "torn",
        "a checkpoint's hashes are checked",
        "actors/checkpoints/store.py",
        "            if found[name] != digest:\n",
        "            if False:\n",
        "actors/checkpoints/test_store.py::test_one_that_is_cut_short_is_passed_over_by_name[learner/weights-cut]",
    ),
    Removal(
        "torn",
        "a manifest that cannot be read is passed over",
        "actors/checkpoints/store.py",
        "        except ValueError:  # no JSON",
        "        except json.JSONDecodeError:  # no JSON",
        "actors/checkpoints/test_store.py::test_one_that_is_cut_short_is_passed_over_by_name[manifest.json-blank]",
    ),
    Removal(
        "torn",
        "weights that a worker loaded are those that were published",
        "actors/weights/verification.py",
        "    if report.sha256 != published.sha256:\n",
        "    if False:\n",
        "actors/weights/test_verification.py::test_other_bytes_are_caught_by_the_hash",
    ),
    Removal(
        "torn",
        "each sync is verified",
        "actors/rollout/pipeline.py",
        "            verify_sync(report, published, self._config.policy.dtype)\n",
        "",
        "actors/rollout/test_pipeline.py::test_a_worker_that_loaded_other_bytes_than_were_published_is_the_runs_end",
    ),
)

SIGTERM = (
    Removal(
        "sigterm",
        "a start is broken off",
        "actors/launch/sigterm.py",
        "            self._say_once()\n            raise SystemExit(STOPPED)\n",
        "            self._say_once()\n",
        "actors/launch/test_sigterm.py::test_a_start_is_broken_off_at_once_and_what_it_began_is_put_away",
    ),
    Removal(
        "sigterm",
        "Ray's own handler does not decide the exit code",
        "actors/launch/sigterm.py",
        "                raise SystemExit(STOPPED) from None\n",
        "                raise\n",
        "actors/launch/test_sigterm.py::test_another_handler_in_the_place_of_ours_does_not_change_the_exit_code",
    ),
    Removal(
        "sigterm",
        "one that came before the loop is not forgotten",
        "actors/launch/sigterm.py",
        "            if self._asked.is_set():\n                raise SystemExit(STOPPED)\n            self._ask = ask\n",
        "            self._ask = ask\n",
        "actors/launch/test_sigterm.py::test_a_signal_that_came_before_the_loop_is_not_forgotten_when_it_begins",
    ),
    Removal(
        "sigterm",
        "a save that hangs ends when its time is over",
        "actors/launch/sigterm.py",
        "        os._exit(STOPPED)\n",
        "",
        "actors/launch/test_sigterm.py::test_a_save_that_hangs_while_the_run_stops_ends_when_its_time_is_over",
    ),
    Removal(
        "sigterm",
        "a child does not speak for its parent",
        "actors/launch/sigterm.py",
        "            os.register_at_fork(after_in_child=_forget)\n",
        "",
        "actors/launch/test_sigterm.py::test_a_forked_child_that_is_terminated_does_not_end_its_parent",
    ),
    Removal(
        "sigterm",
        "it is heard while modules load",
        "caig_rl/cli/first.py",
        "    SIGTERM_STOP.begin()\n",
        "    pass\n",
        "actors/launch/test_sigterm.py::test_the_command_ends_with_75_while_its_modules_load",
    ),
    Removal(
        "sigterm",
        "it asks the run to stop (whole command)",
        "actors/launch/train.py",
        "    with SIGTERM_STOP.handed_to(lambda number: loop.call_soon_threadsafe(_ask, stop, progress, number)):\n",
        "    if True:\n",
        "actors/loop/test_driver_loss.py::test_a_driver_that_is_terminated_in_mid_round_keeps_what_is_done_and_exits_75",
        limit_s=560,
    ),
    Removal(
        "sigterm",
        "a stopped run exits 75 (whole command)",
        "caig_rl/cli/train.py",
        '    raise typer.Exit(75 if summary.status == "stopped" else 0)\n',
        "    raise typer.Exit(0)\n",
        "actors/loop/test_driver_loss.py::test_a_driver_that_is_terminated_in_mid_round_keeps_what_is_done_and_exits_75",
        limit_s=560,
    ),
    Removal(
        "sigterm",
        "what is done goes into a checkpoint (whole command)",
        "actors/loop/online_loop.py",
        "            await self._checkpoints.round_under_way(is_measured=self._baseline.is_measured)\n",
        "",
        "actors/loop/test_driver_loss.py::test_a_driver_that_is_terminated_in_mid_round_keeps_what_is_done_and_exits_75",
        limit_s=560,
    ),
)

EXPIRED = (
    Removal(
        "expired",
        "rollouts of discarded versions expire",
        "actors/loop/state/preference_buffer.py",
        " or not survives(pair.version):\n",
        ":\n",
        "actors/loop/state/test_preference_buffer.py::test_pairs_of_a_discarded_version_expire_also_when_they_are_taken_again",
    ),
    Removal(
        "expired",
        "a rollback discards the versions after it",
        "actors/loop/state/run_state.py",
        "        self.lineage.roll_back(PolicyVersion(incarnation, to))\n",
        "",
        "actors/loop/state/test_run_state.py::test_after_a_rollback_pairs_of_the_discarded_weights_expire_and_the_others_are_taken_again",
    ),
    Removal(
        "expired",
        "a resume remembers the rollbacks",
        "actors/loop/state/run_state.py",
        '        self.lineage = Lineage(PolicyVersion(*to) for to in state.extra.get("falls", ()))\n',
        "",
        "actors/loop/state/test_run_state.py::test_a_rollback_is_remembered_across_a_resume_so_that_pairs_of_discarded_weights_still_expire",
    ),
    Removal(
        "expired",
        "rollouts staler than the bound expire",
        "actors/loop/state/preference_buffer.py",
        "current.number - pair.version.number > self.max_staleness or ",
        "",
        "actors/loop/state/test_preference_buffer.py::test_pairs_older_than_the_staleness_allows_expire",
    ),
)

REMOVALS = (*RANK, *DRIVER, *DISK, *TORN, *SIGTERM, *EXPIRED)
