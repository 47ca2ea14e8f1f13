# make demo    watch the real system learn, on a CPU        make demo CATALOG=products.csv    on your own products
# make docs    the documentation, into build/site
# make test    everything that must hold, in minutes        make test-all    the slow tests too
# Each sets up .venv first, and skips that when it is done. PYTHON=... chooses the interpreter, ARGS="learner.lr=1e-4" overrides config keys.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
# DeepSpeed looks for ninja on PATH.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHON

CATALOG ?=
ARGS ?=
# What is linted: a file of yours beside it does not fail the tests.
OWN := actors benchmarks caig_rl docs tests
STAMP := $(shell date +%Y%m%d-%H%M%S)
PYTEST_LOG := build/pytest.log

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format docs

help:
	@grep -E '^# make' Makefile | cut -c3-

setup:
	@requirements/setup.sh

demo: setup
	.venv/bin/caig-rl train configs/demo.yaml run.name=demo$(if $(CATALOG),-catalog)-$(STAMP) $(if $(CATALOG),catalog.path="$(CATALOG)") $(ARGS)

lint: setup
	.venv/bin/ruff check $(OWN)
	.venv/bin/ruff format --check $(OWN)
	.venv/bin/mypy
	.venv/bin/lint-imports

docs: setup
	.venv/bin/mkdocs build

format: setup
	.venv/bin/ruff check --fix $(OWN)
	.venv/bin/ruff format $(OWN)

test: PYTEST_ARGS := -m "not slow and not trackers"
test-all: PYTEST_ARGS := -m "not trackers"
test test-all: lint
	@# Engines may still log while they go down: pytest's closing line is said again, so that it stands last.
	@mkdir -p build; status=0; \
	.venv/bin/python -m pytest --color=no $(PYTEST_ARGS) 2>&1 | tee $(PYTEST_LOG) || status=$$?; \
	grep -E '^=+ .* in [0-9.]+s.*=+$$' $(PYTEST_LOG) | tail -n 1; exit $$status
