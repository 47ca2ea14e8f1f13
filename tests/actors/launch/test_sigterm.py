"""SIGTERM at any moment: the process ends with 75, in time. Each test has a process of its own, most without Ray."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.actors.loop.test_driver_loss import REPOSITORY, SMALL

BEGIN = """
import os, signal, subprocess, sys, time
from actors.launch.sigterm import SIGTERM_STOP
SIGTERM_STOP.grace_s = {grace_s}
SIGTERM_STOP.begin()
def ready():
    print("ready", flush=True)
"""
LIMIT_S = 60


def _terminated(body: str, grace_s: float = 50.0) -> tuple[int, str]:
    """Exit code and standard error of a program that is sent SIGTERM once it is ready."""
    command = [sys.executable, "-c", BEGIN.format(grace_s=grace_s) + body]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        return process.wait(LIMIT_S), process.communicate()[1]
    finally:
        process.kill()


def test_a_start_is_broken_off_at_once_and_what_it_began_is_put_away() -> None:
    code, said = _terminated("try:\n    ready(); time.sleep(60)\nfinally:\n    os.write(2, b'put away')")
    assert code == 75 and "SIGTERM before the run was up" in said and "put away" in said


def test_a_start_that_hangs_ends_when_its_time_is_over() -> None:
    hangs = "while True:\n    try:\n        ready(); time.sleep(60)\n    except SystemExit:\n        pass"
    code, said = _terminated(hangs, grace_s=0.5)
    assert code == 75 and "stopping took longer than run.stop_grace_s=0.5" in said


def test_a_save_that_hangs_while_the_run_stops_ends_when_its_time_is_over() -> None:
    """The run was asked, and its only thread is in a write that does not return."""
    hangs = "with SIGTERM_STOP.handed_to(lambda number: os.write(2, b'asked ')):\n    ready()\n    while True: time.sleep(60)"
    code, said = _terminated(hangs, grace_s=0.5)
    assert code == 75 and said.startswith("asked ") and "the newest checkpoint stays" in said


def test_another_handler_in_the_place_of_ours_does_not_change_the_exit_code() -> None:
    """Ray sets its own while it starts a node, and exits with 1 or 15."""
    code, _ = _terminated("with SIGTERM_STOP.breaking_off():\n    signal.signal(15, lambda *_: sys.exit(15)); ready(); time.sleep(60)")
    assert code == 75


def test_a_signal_that_came_before_the_loop_is_not_forgotten_when_it_begins() -> None:
    late = "signal.signal(15, lambda *_: None); ready(); time.sleep(1)\nwith SIGTERM_STOP.handed_to(print): time.sleep(60)"
    code, said = _terminated(late)
    # By itself, not by the watchdog when its time is over.
    assert code == 75 and "stopping took longer" not in said


def test_what_the_run_writes_last_is_finished() -> None:
    code, said = _terminated("with SIGTERM_STOP.handed_to(print): pass\nready(); time.sleep(1); os.write(2, b'report'); sys.exit(0)")
    assert code == 0 and "finished first" in said and said.endswith("report")


def test_a_forked_child_that_is_terminated_does_not_end_its_parent() -> None:
    forks = "child = os.fork()\nif not child: time.sleep(60)\ntime.sleep(0.5); os.kill(child, 15); os.waitpid(child, 0); time.sleep(0.5)\n"
    code, said = _terminated(forks + "os.write(2, b'lives '); ready(); time.sleep(60)")
    assert code == 75 and said.startswith("lives ")


def test_the_command_ends_with_75_while_its_modules_load(tmp_path: Path) -> None:
    command = [sys.executable, "-v", "-m", "caig_rl.cli", "train", f"run.root={tmp_path}"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        next(line for line in process.stderr if "import 'caig_rl.cli.first'" in line)
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
        assert process.wait(LIMIT_S) == 75 and "SIGTERM before the run was up" in said
    finally:
        process.kill()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("within_s", [0.5, 3.0])
def test_the_command_ends_with_75_while_ray_starts_and_leaves_no_process(within_s: float, tmp_path: Path) -> None:
    settings = [f"run.root={tmp_path}", "run.name=run", *SMALL]
    command = [sys.executable, "-u", "-m", "tests.actors.fake_cli", "0", "learn", "0", "train", "configs/demo.yaml", *settings]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        next(line for line in process.stdout if "starting Ray" in line)
        time.sleep(within_s)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        said = process.stdout.read()
        assert process.wait(LIMIT_S) == 75, said
    finally:
        process.kill()
    assert not psutil.wait_procs(family, timeout=30)[1]
