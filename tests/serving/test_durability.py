"""Events over HTTP while the process behind the address is killed: what was acknowledged is in the log, once."""

from pathlib import Path

from benchmarks.serve_durability import measure
from tests.serving.local_server import LocalProcess


def test_every_acknowledged_event_survives_kills_of_the_process(tmp_path: Path):
    said: list[str] = []
    result = measure(tmp_path, LocalProcess(tmp_path), 2000, 10, 0, 2, seed=1, note=said.append)
    assert result.good, result
    assert (result.events, result.service_kills) == (2000, 2)
    assert sum("killed the whole service" in line for line in said) == 2
    assert result.sent_again + result.given_up > 0, "no kill met a request under way"
    assert result.lines >= result.found >= result.acknowledged
