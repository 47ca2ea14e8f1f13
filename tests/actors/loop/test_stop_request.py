from __future__ import annotations

import asyncio
import signal

from actors.loop.stop_request import StopRequest


def test_one_interrupt_waits_for_the_round_and_a_second_does_not() -> None:
    stop = StopRequest()
    assert "end of this round" in stop.ask(signal.SIGINT)
    assert (stop.after_round, stop.now) == (True, False)
    assert "now" in stop.ask(signal.SIGINT)
    assert stop.now


def test_a_termination_does_not_wait() -> None:
    stop = StopRequest()
    stop.ask(signal.SIGTERM)
    assert stop.now and stop.after_round
    asyncio.run(stop.wait_for_now())
