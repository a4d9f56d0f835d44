# Two commands do everything on a fresh machine with Python 3.11 or newer: `make walk` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Torch is pinned: this release has CPU builds small enough for a test machine.
TORCH := torch==2.13.0
# Tests share the cores; worksteal keeps neighbours together, which share fixtures. Empty for one process: make unit PARALLEL=
PARALLEL := --numprocesses auto --maxprocesses 4 --dist worksteal

.PHONY: walk test lint types unit bench soak system-packages clean

walk: $(VENV)/walk-ready
	@$(BIN)/spatia walk $(ARGS)

test: lint types unit

lint: $(VENV)/test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/codespell

types: $(VENV)/test-ready
	$(BIN)/pyright

unit: $(VENV)/test-ready
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

soak: $(VENV)/test-ready
	SPATIA_SOAK=1 $(BIN)/python -m pytest tests/saves tests/fuzz --timeout 3600 $(ARGS)

bench: $(VENV)/bench-ready
	$(BIN)/python benchmarks/run_all.py $(ARGS)

$(VENV)/python-ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "spatia needs Python 3.11 or newer; got $$($(PYTHON) --version). Try: make PYTHON=python3.12 walk" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/walk-ready: $(VENV)/python-ready pyproject.toml
	@echo "setting up the walk (once, about a minute)"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/test-ready: $(VENV)/walk-ready pyproject.toml | system-packages
	@echo "setting up the tests (once, some minutes)"
	@$(PIP) install "$(TORCH)"
	@$(PIP) install --editable ".[dev,models]"
	@touch $@

$(VENV)/bench-ready: $(VENV)/test-ready
	@$(PIP) install --editable ".[bench]"
	@touch $@

# What the window and GL tests need besides Python packages; installed where that is possible, named otherwise.
system-packages:
	@sh tools/system_packages.sh

clean:
	rm -rf $(VENV) build *.egg-info
