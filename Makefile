# Larder's commands. `make help` lists them; each target with `##` is one.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROJECTS := client/pyproject.toml server/pyproject.toml recipes/pyproject.toml
PACKAGES := client/larder server/larder_server recipes/larder_recipes
SOURCES := $(PACKAGES) server/hatch_build.py tests tools bench
# What `make test` hands to pytest, e.g. `make test ARGS="-k journal -x"`.
ARGS ?=
WORKERS ?= 2

.PHONY: help setup web system demo test check format openapi bench lock clean

help:  ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)  ## Make .venv with the three distributions and everything the tests need
	@:

# The lock is made for Python 3.11, so an older suitable Python is preferred to a newer one.
$(STAMP): constraints.txt requirements-dev.in $(PROJECTS) server/hatch_build.py tools/setup.py
	@for name in python3.11 python3.12 python3.13 python3 python; do \
	  if "$$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    exec "$$name" tools/setup.py $(VENV); \
	  fi; \
	done; \
	echo 'make setup: no Python 3.11 or newer with the modules venv and ensurepip was found on PATH.' >&2; \
	echo 'Install one, e.g. `apt-get install python3 python3-venv` or from https://www.python.org/downloads/.' >&2; \
	exit 1

web: setup  ## Build the pages anew, where web/ has changed
	@$(BIN)/python server/hatch_build.py $(ARGS)

system:  ## Install git and chromium, for the tests, where they are missing and this user may
	@bash tools/system.sh

demo: setup web  ## Train real models on real retail data, re-run the best one, and leave the pages up
	@$(BIN)/larder demo $(ARGS)

test: setup web system check  ## The checks, then all tests
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

check: setup  ## Lint, format, types, import contracts, documentation
	@$(BIN)/ruff check $(wildcard $(SOURCES))
	@$(BIN)/ruff format --check $(wildcard $(SOURCES))
	@$(BIN)/mypy $(PACKAGES)
	@$(BIN)/python server/hatch_build.py --check
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q -p no:cacheprovider tests/guards/test_docs.py

format: setup  ## Format the code and mend what the linter can mend
	@$(BIN)/ruff check --fix $(wildcard $(SOURCES))
	@$(BIN)/ruff format $(wildcard $(SOURCES))

openapi: setup  ## Write docs/reference/openapi.json anew (refuses to take anything away)
	@$(BIN)/python -m tools.openapi $(ARGS)

bench: setup  ## Measure against peers and limits
	@$(BIN)/python -m bench $(ARGS)

# Not after setup: the lock is what setup would fail on after a dependency has changed.
lock:  ## Resolve requirements-dev.in into constraints.txt
	@test -x $(BIN)/uv || $(MAKE) setup
	@$(BIN)/python tools/setup.py --lock $(VENV)

clean:  ## Remove .venv, caches and builds
	@rm -rf $(VENV) web/node_modules server/larder_server/pages .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist */dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
