# make sweep        install what a sweep needs, run the default sweep, print the ablation table
# make test         lint, types and tests
# make test-oldest  the core of the tests with the oldest versions that pyproject.toml allows
# make soak         the tests that take minutes each, property tests at random, random kills on two nodes
# make format       let ruff rewrite the sources
# make clean        remove the environment, caches and runs

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Two files are tested at a time, the longest first.
SHARED := --numprocesses 2 --dist loadfile --no-loadscope-reorder
# What changes with the versions of Ray, torch, Optuna and pydantic: sweep files, the study, sweeps, kills.
CORE := tests/unit/cluster tests/unit/config tests/unit/study \
  tests/integration/test_fake_sweep.py tests/integration/test_real_sweep.py \
  tests/faults/test_process_reuse.py \
  tests/faults/test_trial_faults.py::test_processes_of_a_trial_live_and_die_together
OLDEST := .venv-oldest
TESTS := tests/integration/test_readme.py tests/integration tests/faults tests/gpu tests/unit

.PHONY: sweep test test-oldest soak lint format clean
.DEFAULT_GOAL := sweep

sweep: $(VENV)/.installed
	$(BIN)/python -m raynas_snn.sweep $(ARGS)

test: lint
	$(BIN)/python -m pytest $(or $(ARGS),$(SHARED) -m "not long" $(TESTS))

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest $(or $(ARGS),$(CORE))

soak: lint
	$(BIN)/python -m pytest $(SHARED) -m long tests/faults tests/integration
	$(BIN)/python -m pytest $(SHARED) -m hypothesis --hypothesis-profile=soak tests/unit
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

$(OLDEST)/.installed: pyproject.toml tests/support/oldest_versions.py
	rm -rf $(OLDEST)
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(OLDEST)/bin/python -m pip install --quiet --editable . --group test $$($(OLDEST)/bin/python tests/support/oldest_versions.py)
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) runs .mypy_cache .ruff_cache .pytest_cache
