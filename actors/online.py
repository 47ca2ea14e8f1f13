"""The public door to the online loop: `run`. The loop itself is `actors.loop.online_loop`."""

from actors.loop.online_loop import OnlineLoop, run

__all__ = ["OnlineLoop", "run"]
