from __future__ import annotations

from actors.telemetry.throughput import Throughput


def test_rates_are_over_the_whole_run() -> None:
    throughput = Throughput()
    throughput.add(pairs=10, tokens=100)
    throughput.add(images=50, tokens=100)
    rates = throughput.summary(20.0)
    assert (rates.pairs_per_s, rates.images_per_s, rates.tokens_per_s) == (0.5, 2.5, 10.0)
