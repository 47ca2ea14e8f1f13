"""The table of `tests.without_handling` cannot rot: what it removes is there, and the tests it names are too. It is run by hand."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import psutil
import pytest

from actors.chaos.fault_plan import FaultKind
from tests.handling.removal import Removal
from tests.without_handling import REMOVALS, REPOSITORY, Verdict, check_origin, copy_packages, read_report, run_tests, without


def test_every_fault_that_can_be_injected_has_handling_to_remove() -> None:
    assert {*FaultKind, "poison", "sigterm", "expired"} == {removal.fault for removal in REMOVALS}


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: f"{removal.fault}: {removal.what}")
def test_what_is_removed_is_there_exactly_once_and_the_test_that_must_notice_exists(removal: Removal) -> None:
    assert removal.applied(REPOSITORY) != (REPOSITORY / removal.file).read_text(encoding="utf-8")
    file, _, name = removal.test.partition("::")
    functions = [node for node in ast.parse((REPOSITORY / "tests" / file).read_text()).body if isinstance(node, ast.FunctionDef)]
    assert name.partition("[")[0] in {function.name for function in functions}


def test_handling_that_is_not_there_once_is_refused_and_so_is_what_would_not_run(tmp_path: Path) -> None:
    (tmp_path / "handling.py").write_text("a = 1\na = 1\nif a:\n    a = 2\n")

    def removal(old: str, new: str) -> Removal:
        return Removal("worker", "it counts", "handling.py", old, new, "test_it.py::test_it")

    with pytest.raises(ValueError, match=r"handling\.py holds the handling of 'worker' \(it counts\) 2 times, not once"):
        removal("a = 1\n", "").applied(tmp_path)
    with pytest.raises(ValueError, match="is no Python"):
        removal("    a = 2\n", "").applied(tmp_path)
    assert removal("a = 2", "a = 3").applied(tmp_path).endswith("a = 3\n")


def test_a_report_tells_passing_failing_hanging_and_broken_tests_apart(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    hang = "Failed: Timeout (&gt;5.0s) from pytest-timeout."
    program = "subprocess.TimeoutExpired: Command '['python', '-m', 'it']' timed out after 300 seconds"
    cases = {
        "good": "",
        "bad": '<failure message="assert 1&#10; == 2"/>',
        "slow": f'<failure message="{hang}"/>',
        "odd": "<skipped/>",
        "stuck": f'<failure message="{program}"/>',
    }
    rows = "".join(f'<testcase classname="tests.actors.test_it" name="test_{name}">{body}</testcase>' for name, body in cases.items())
    report.write_text(f"<testsuites><testsuite>{rows}</testsuite></testsuites>")
    found = {name.removeprefix("actors/test_it.py::test_"): verdict for name, verdict in read_report(report).items()}
    assert found["good"] == Verdict("passes") and not found["good"].noticed
    assert found["bad"] == Verdict("fails", "assert 1 == 2") and found["bad"].noticed
    assert found["slow"] == Verdict("hangs", "Timeout (>5.0s)") and found["slow"].noticed
    assert found["stuck"] == Verdict("hangs", "its program timed out after 300 seconds")
    assert found["odd"].word == "does not run" and not found["odd"].noticed


def test_a_test_that_hangs_is_ended_with_its_whole_process_group(tmp_path: Path) -> None:
    """The program that it started is an orphan by then, and no child of pytest's."""
    (tmp_path / "tests").mkdir()
    hang = "os.fork() or (os.fork() and os._exit(0)) or (open('pid', 'w').write(str(os.getpid())), time.sleep(600))\n    time.sleep(600)"
    (tmp_path / "tests" / "test_it.py").write_text(f"import os, time\n\ndef test_it():\n    {hang}\n")
    assert run_tests(tmp_path, ["test_it.py::test_it"], 500, 20)["test_it.py::test_it"].word == "hangs"
    orphan = int((tmp_path / "pid").read_text())
    limit = time.monotonic() + 10
    while (lives := _lives(orphan)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not lives


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_test_runs_over_the_copy_and_notices_what_was_removed_from_it(tmp_path: Path) -> None:
    """One removal whole, the cheapest; and what it looks like where the test does not notice, or is not there."""
    copy_packages(tmp_path)
    check_origin(tmp_path)
    removal = next(one for one in REMOVALS if one.file == "actors/loop/state/preference_buffer.py")
    assert run_tests(tmp_path, [removal.test], 60, 120)[removal.test] == Verdict("passes")
    assert without(tmp_path, removal, 60).word == "fails"
    assert (tmp_path / removal.file).read_text() == (REPOSITORY / removal.file).read_text()
    absent = f"{removal.test}_at_all"
    assert run_tests(tmp_path, [absent], 60, 120)[absent].word == "does not run"
