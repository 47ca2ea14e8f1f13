"""What every test shares: an environment in which engines are small, quiet and offline, and the data that a clone may lack."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import hypothesis
import pytest

REPOSITORY = Path(__file__).parents[1]
ENVIRONMENT = {
    # Threads wait for each other in a loop: on a machine with no core to spare, two took thirty times as long as one.
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "MPLBACKEND": "Agg",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "TORCHDYNAMO_DISABLE": "1",
}

for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
if shutil.which("nvidia-smi") is None:
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
# DeepSpeed looks for ninja on PATH, and a test run may be started without the environment's bin folder on it.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


# Only now: what it imports reads the environment.
from tests.finished_run import complete_run, made_up_ledger, run_folder, summary_values  # noqa: E402, F401  fixtures

# Hypothesis would fail a test for taking longer than 200 ms, which a busy machine alone can bring about.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos and clicks, which a clone lacks: named by CAIG_SHARED_DATA, or shared/data in or beside the clone."""
    named = os.environ.get("CAIG_SHARED_DATA")
    places = [Path(named)] if named else [REPOSITORY / "shared" / "data", REPOSITORY.parent / "shared" / "data"]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        pytest.skip(f"no shared data at {' or '.join(str(place) for place in places)}; set CAIG_SHARED_DATA to its folder")
    return found
