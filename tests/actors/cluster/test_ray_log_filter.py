"""What Ray says and a run does not pass on."""

import pytest

from actors.cluster import ray_log_filter as ray_noise


def test_harmless_messages_are_left_out_and_all_others_come_through(monkeypatch: pytest.MonkeyPatch):
    printed: list[list[str]] = []
    monkeypatch.setattr(ray_noise.worker, "print_to_stdstream", lambda data, ignore_prefix: printed.append(data["lines"]))
    ray_noise.keep_harmless_silent()
    ray_noise.keep_harmless_silent()
    harmless = "WARNING: 8 PYTHON worker processes have been started, which is 4x the maximum expected startup concurrency (2)."
    for lines in ([harmless], ["a worker was killed: out of memory", harmless]):
        ray_noise.worker.print_to_stdstream({"lines": lines, "pid": "raylet", "is_err": False}, ignore_prefix=False)
    assert printed == [["a worker was killed: out of memory"]]


def test_ray_still_prints_by_the_function_that_is_replaced():
    """A new version of Ray may print by another: then the replacement would do nothing."""
    assert "print_to_stdstream" in ray_noise.worker.listen_error_messages.__code__.co_names
