# make sweep   install what a sweep needs, run the default sweep, print the ablation table
# make test    lint, types and tests
# make format  let ruff rewrite the sources
# make clean   remove the environment, caches and runs

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: sweep test unit sweeps lint format clean
.DEFAULT_GOAL := sweep

sweep: $(VENV)/.installed
	$(BIN)/python -m raynas_snn.sweep $(ARGS)

test: lint
ifeq ($(ARGS),)
	$(MAKE) --jobs 2 --output-sync=target --no-print-directory unit sweeps
else
	$(BIN)/python -m pytest $(ARGS)
endif

unit sweeps:
	$(BIN)/python -m pytest $(if $(filter unit,$@),tests/unit,tests/integration tests/gpu)

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
