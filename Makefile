# make sweep   install what a sweep needs, run the default sweep, print the ablation table
# make test    lint, types and tests
# make format  let ruff rewrite the sources
# make clean   remove the environment, caches and runs

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
TESTS := tests/integration/test_readme.py tests/integration tests/gpu tests/unit

.PHONY: sweep test lint format clean
.DEFAULT_GOAL := sweep

sweep: $(VENV)/.installed
	$(BIN)/python -m raynas_snn.sweep $(ARGS)

# A sweep waits for processes to start more than it computes, so three files are tested at a time, the longest first.
test: lint
	$(BIN)/python -m pytest $(or $(ARGS),--numprocesses 3 --dist loadfile --no-loadscope-reorder $(TESTS))

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
