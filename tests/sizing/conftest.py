import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest


@pytest.fixture(scope="module")
def process_of_its_own() -> Iterator[ProcessPoolExecutor]:
    """Bytes are counted where no other test has been: its engines would be counted, and ZeRO 3 replaces torch's `linear` for good."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool
