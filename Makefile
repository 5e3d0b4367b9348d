# make sweep   install what a sweep needs, run the default sweep, print the ablation table
# make test    lint, types and tests
# make soak    the tests that take minutes each, then random kills on two nodes for half an hour
# make format  let ruff rewrite the sources
# make clean   remove the environment, caches and runs

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Two files are tested at a time, the longest first.
SHARED := --numprocesses 2 --dist loadfile --no-loadscope-reorder
TESTS := tests/integration/test_readme.py tests/integration tests/faults tests/gpu tests/unit

.PHONY: sweep test soak lint format clean
.DEFAULT_GOAL := sweep

sweep: $(VENV)/.installed
	$(BIN)/python -m raynas_snn.sweep $(ARGS)

test: lint
	$(BIN)/python -m pytest $(or $(ARGS),$(SHARED) -m "not long" $(TESTS))

soak: lint
	$(BIN)/python -m pytest $(SHARED) -m long tests/faults tests/integration
	$(BIN)/python benchmarks/soak.py $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One stamp per set of packages: both targets are idempotent and cost nothing the second time.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

clean:
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache
