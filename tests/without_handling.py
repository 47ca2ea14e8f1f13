"""`python -m tests.without_handling [FAULT...]`: is there a test for every fault that fails where the fault's handling is removed?

The packages are copied to a temporary folder. There all tests pass, in one run; then one piece of handling is removed at a time
(`tests/handling`), and its test must fail, or hang until its limit. The copy is the first that every process imports: it is the working
folder and PYTHONPATH of pytest, which Ray's workers and the tests' own programs inherit. A test that imported anything else would pass, and
be reported. Each pytest has a process group of its own, which is ended as a whole where it hangs. It says each verdict as it comes, ends
with a Markdown table (removal, test, noticed or not, seconds), and ends 1 where a test did not notice.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console

from tests.handling import rollout, run
from tests.handling.removal import Removal

REPOSITORY = Path(__file__).parents[1]
COPIED = ("actors", "caig_rl", "configs", "tests", "pyproject.toml")
REMOVALS = (*rollout.REMOVALS, *run.REMOVALS)
GRACE_S = 90
"""Beyond a test's own limit: for imports before it, and for what it takes down after."""
SLOWER = 3
"""How many times as long as with the handling a test may take, before it hangs."""
WIDEST = 110
"""Characters of a reason that the table shows."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a test came to."""

    word: str
    """"passes", "fails", "hangs", or "does not run" (where it could not be collected, say)."""
    reason: str = ""
    seconds: float = field(default=0.0, compare=False)
    """How long it took."""

    @property
    def noticed(self) -> bool:
        """True where the test tells that something is wrong."""
        return self.word in ("fails", "hangs")

    def __str__(self) -> str:
        return f"{self.word}: {self.reason}" if self.reason else self.word


def copy_packages(target: Path) -> None:
    """All that the tests need of the repository."""
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)


def check_origin(copy: Path) -> None:
    """Raises RuntimeError where a process that is started as the tests' own are would import anything but the copy."""
    command = [sys.executable, "-c", "import actors, caig_rl; print(actors.__path__[0], caig_rl.__path__[0])"]
    done = subprocess.run(command, cwd=copy, env=environment(copy), capture_output=True, text=True, check=True)
    if done.stdout.split() != [str(copy / "actors"), str(copy / "caig_rl")]:
        raise RuntimeError(f"the copy in {copy} is not what is imported, but {done.stdout.strip()}")


def environment(copy: Path) -> dict[str, str]:
    """Without bytecode: a file that changes twice within a second would be taken for the one before."""
    return os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}


def run_tests(copy: Path, tests: Sequence[str], limit_s: int, total_s: int) -> dict[str, Verdict]:
    """Run `tests` (node ids in the copy's tests) in one session: each one's verdict. `limit_s`: for each; `total_s`: for all."""
    report = copy / "report.xml"
    report.unlink(missing_ok=True)
    options = ["-q", "--color=no", "-p", "no:cacheprovider", f"--timeout={limit_s}", f"--junitxml={report}"]
    command = [sys.executable, "-m", "pytest", *options, *(f"tests/{test}" for test in tests)]
    with (copy / "output.txt").open("w") as output:
        process = subprocess.Popen(command, cwd=copy, env=environment(copy), stdout=output, stderr=output, start_new_session=True)
    try:
        process.wait(timeout=total_s)
    except subprocess.TimeoutExpired:
        end_with_children(process)
        return {test: Verdict("hangs", f"ended after {total_s} s") for test in tests}
    found = read_report(report) if report.exists() else {}
    return {test: found.get(test, Verdict("does not run", _last_line(copy / "output.txt"))) for test in tests}


def end_with_children(process: subprocess.Popen[bytes]) -> None:
    """Kill its process group, orphans in it included, and what it started that left the group: Ray, its workers, programs."""
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    for one in family:
        if one.is_running():
            one.kill()
    process.wait()


def read_report(report: Path) -> dict[str, Verdict]:
    """The verdict of every test of a JUnit report, by its node id in `tests/`."""
    verdicts: dict[str, Verdict] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}".removeprefix("tests/")
        broken = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        seconds = float(case.get("time") or 0.0)
        verdicts[name] = Verdict("passes", seconds=seconds) if broken is None else _broken(broken.tag, broken.get("message") or "")
    return verdicts


def _broken(tag: str, message: str) -> Verdict:
    if tag == "skipped":
        return Verdict("does not run", message[:WIDEST])
    reason = " ".join(message.split())
    if "from pytest-timeout" in reason:
        return Verdict("hangs", reason.removeprefix("Failed: ").split(" from pytest-timeout")[0])
    if reason.startswith("subprocess.TimeoutExpired"):  # the test's own program
        return Verdict("hangs", f"its program {reason[reason.rfind('timed out') :]}")
    return Verdict("fails", reason[:WIDEST])


def _last_line(file: Path) -> str:
    lines = file.read_text(errors="replace").strip().splitlines()
    return lines[-1][:WIDEST] if lines else "it said nothing"


def without(copy: Path, removal: Removal, limit_s: int, grace_s: int = GRACE_S) -> Verdict:
    """The test's verdict where the handling is removed from the copy, which is whole again afterwards. `grace_s`: beyond the test."""
    file = copy / removal.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(removal.applied(copy), encoding="utf-8")
    try:
        return run_tests(copy, [removal.test], limit_s, limit_s + grace_s)[removal.test]
    finally:
        file.write_text(whole, encoding="utf-8")


def compare(removals: Sequence[Removal], say: Callable[[str], None]) -> bool:
    """True where every test passes with the handling and notices that it is gone. `say` is given each verdict, then the table."""
    with tempfile.TemporaryDirectory(prefix="without-handling-") as folder:
        copy = Path(folder).resolve()
        copy_packages(copy)
        check_origin(copy)
        tests = list(dict.fromkeys(removal.test for removal in removals))
        longest = max(removal.limit_s for removal in removals)
        began = time.monotonic()
        whole = run_tests(copy, tests, longest, longest * len(tests))
        # On a busy machine a slow test, or a slow start, must not be taken for one that hangs.
        overhead_s = max(0.0, time.monotonic() - began - sum(verdict.seconds for verdict in whole.values()))
        all_well, rows = True, ["| removal | test | | seconds |", "| --- | --- | --- | --- |"]
        for removal in removals:
            before = whole[removal.test]
            limit_s = max(removal.limit_s, int(SLOWER * (before.seconds + overhead_s)))
            began = time.monotonic()
            after = without(copy, removal, limit_s, max(GRACE_S, int(SLOWER * overhead_s)))
            seconds = time.monotonic() - began
            is_well = before.word == "passes" and after.noticed
            all_well &= is_well
            name = f"{removal.fault}: {removal.what} (`{removal.file}`)"
            say(f"{name}\n    with it {before}; without it {after}")
            rows.append(_row(name, f"`{removal.test}`", "noticed" if is_well else "NOT NOTICED", f"{seconds:.0f}"))
        say("\n".join(rows))
        return all_well


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> None:
    """The command."""
    faults = list(dict.fromkeys(removal.fault for removal in REMOVALS))
    parser = argparse.ArgumentParser(
        prog="python -m tests.without_handling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(faults)}; none: all")
    wanted = parser.parse_args().faults or faults
    if unknown := set(wanted) - set(faults):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(faults)}")
    console = Console(soft_wrap=True, markup=False, highlight=False)
    sys.exit(0 if compare([one for one in REMOVALS if one.fault in wanted], console.print) else 1)


if __name__ == "__main__":
    main()
