from __future__ import annotations

from caig_rl.evaluation.recovery_time import rate_at, recovery_s

STEADY = [float(second) for second in range(1, 101)]


def test_the_rate_counts_what_was_done_in_the_window() -> None:
    assert rate_at(STEADY, 50.0, 10.0) == 1.0
    assert rate_at([], 50.0, 10.0) == 0.0


def test_a_fault_that_nobody_notices_takes_no_time() -> None:
    assert recovery_s(STEADY, 50.0, 10.0) == 0.0


def test_a_gap_is_measured_from_the_fault_to_its_end() -> None:
    with_gap = [one for one in STEADY if not 50.0 < one < 70.0]
    found = recovery_s(with_gap, 50.0, 10.0)
    assert found is not None and 18.0 <= found <= 20.0


def test_a_slow_rhythm_needs_a_window_that_holds_it() -> None:
    bursts = [float(round_ * 20 + second) for round_ in range(8) for second in range(5)]
    assert recovery_s(bursts, 65.0, 20.0) == 0.0


def test_a_rate_that_never_comes_back_is_said_to_be_lost() -> None:
    assert recovery_s([one for one in STEADY if one <= 50.0 or one % 10 == 0], 50.0, 10.0) is None
