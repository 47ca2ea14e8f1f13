"""A look that is taken again and again beside a job, by a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def polling(look: Callable[[], None], every_s: float, name: str) -> Iterator[None]:
    """Inside the block `look` is called every `every_s` seconds, by the thread `name`; it has ended when the block has."""
    over = threading.Event()

    def poll() -> None:
        while not over.wait(every_s):
            look()

    thread = threading.Thread(target=poll, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
