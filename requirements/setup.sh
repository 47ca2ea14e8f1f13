#!/usr/bin/env bash
# Makes .venv with the locked CPU set and this project in it. `make setup` runs it; a second run sees the stamp and ends at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

LOCK=requirements/cpu.lock
STAMP=.venv/.setup-stamp
NEEDED_GIB=8  # 4 GiB of packages, the wheels while they are unpacked, and room for a run

fail() {
    printf 'set-up: %s\n' "$@" >&2
    exit 1
}

python_fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if command -v "$candidate" >/dev/null && python_fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11, 3.12 or 3.13 is needed (3.11 is the one the lock was run on), and none is on PATH." \
        "Install one (for example: apt-get install python3.11 python3.11-venv), or name it: make setup PYTHON=/path/to/python3.11"
}

check_machine() {
    command -v g++ >/dev/null ||
        fail "no g++ on PATH; DeepSpeed compiles its CPU operators with it. Install a C++ compiler (for example: apt-get install g++)."
    local free_kib
    free_kib=$(df -Pk . | awk 'NR == 2 { print $4 }')
    if ((free_kib < NEEDED_GIB * 1024 * 1024)) && [[ ! -e .venv/bin/vllm ]]; then
        fail "only $((free_kib / 1024 / 1024)) GiB free in $PWD, and the set-up needs about $NEEDED_GIB GiB. Free some disk, or clone elsewhere."
    fi
}

make_venv() {
    if [[ -x .venv/bin/python ]] && python_fits .venv/bin/python; then
        return
    fi
    [[ ! -e .venv ]] || fail ".venv is there, but its Python does not run or is not 3.11 to 3.13. Delete the folder and run this again."
    local python
    python=$(find_python)
    "$python" -m venv .venv || {
        rm -rf .venv
        fail "$python could not make a virtual environment; its message is above (on Debian and Ubuntu, install python3-venv)."
    }
}

install_torch() {
    local torch
    torch=$(grep '^torch==' "$LOCK")
    if .venv/bin/python -m pip install --quiet --no-deps "$torch"; then
        return
    fi
    echo "set-up: pip did not get $torch (its message is above); asking PyTorch's own CPU index through uv"
    .venv/bin/python -m pip install --quiet uv
    .venv/bin/uv pip install --python .venv/bin/python --no-deps --torch-backend cpu "$torch" ||
        fail "$torch could not be installed; see the message above. Without network access, point pip at a wheel folder (PIP_FIND_LINKS)."
}

# Its path too: commands of an environment that was moved name the Python of the old place.
key=$({ cat "$LOCK" pyproject.toml requirements/setup.sh; pwd; } | sha256sum | cut -d' ' -f1)
if [[ -f $STAMP && $(<"$STAMP") == "$key" ]]; then
    exit 0
fi

check_machine
make_venv
echo "set-up: installing $(grep -c '==' "$LOCK") packages into .venv (about three minutes the first time)"
install_torch
.venv/bin/python -m pip install --quiet --no-deps -r "$LOCK"
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
echo "$key" >"$STAMP"
echo "set-up: done"
