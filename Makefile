# `make quickstart` and `make test` do everything from a fresh clone; both start with `make install`.
PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install quickstart test check papers chaos

install: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

quickstart: install
	$(BIN)/nas search quickstart

# Two processes, since many tests wait; JOBS=0 runs all in one.
test: install
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Every parameter count that the papers print, beside ours.
papers: install
	$(BIN)/python benchmarks/papers.py

# Searches whose workers, drivers and nodes are killed at random, and what must hold all the same; CHAOS="--trials 40".
chaos: install
	$(BIN)/python benchmarks/chaos.py $(CHAOS)
