"""The public door to the online loop: `run`, and the `RunFacts` that it may be given. The loop itself is `actors.loop.online_loop`."""

from actors.loop.run import run
from actors.telemetry.summary_builder import RunFacts

__all__ = ["run", "RunFacts"]
