#!/usr/bin/env bash
# Makes .venv with the locked GPU set and this project in it, as requirements/setup.sh does for CPU. cluster/Dockerfile.gpu runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

LOCK=requirements/gpu.lock

[[ -x .venv/bin/python ]] || "${PYTHON:-python3.12}" -m venv .venv
# torch and the build tools first: DeepSpeed comes as source and looks for torch while it is built.
grep -E '^(torch|setuptools|packaging|ninja|numpy|py-cpuinfo)==' "$LOCK" |
    xargs .venv/bin/python -m pip install --no-cache-dir --no-deps
.venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation -r "$LOCK"
.venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation -e .
