# Needs Python 3.11 or newer, pip and make; everything else is installed into $(VENV).
#   make test PYTHON=python3.13 VENV=.venv-3.13     another Python, beside the usual environment
#   make test PYTEST_ARGS="tests/laws -x"           some of the tests

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
PYTEST_ARGS ?= tests

BIN := $(VENV)/bin
# One stamp for each set of extras, which is its name after the prefix.
DEV := $(VENV)/.installed-dev
DEMO := $(VENV)/.installed-plot,sklearn
BENCH := $(VENV)/.installed-bench
DOCS := $(VENV)/.installed-docs

.DEFAULT_GOAL := help
.PHONY: help demo test test-quick lint format bench docs docs-serve docs-test clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s%s\n", $$1, $$2 }' Makefile

demo: $(DEMO) ## run examples/quickstart.py
	$(BIN)/python examples/quickstart.py

test: $(DEV) ## run the tests (WORKERS, PYTEST_ARGS)
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

test-quick: $(DEV) ## run a few minutes of them: every file, of models only representatives
	$(BIN)/python -m pytest -n $(WORKERS) -m "not whole" $(PYTEST_ARGS)

lint: $(DEV) ## check style and types, change nothing
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m pyright --pythonpath $(BIN)/python

format: $(DEV) ## format the code and mend what ruff can
	$(BIN)/python -m ruff check --fix-only .
	$(BIN)/python -m ruff format .

bench: $(BENCH) ## run the benchmarks
	$(BIN)/python -m benchmarks.run

docs: $(DOCS) ## build the site into build/docs/site: runs the code of all pages
	$(BIN)/python -m docs.build --workers $(WORKERS)

docs-serve: $(DOCS) ## build the site, serve it, and build again what changes
	$(BIN)/python -m docs.build --serve --workers $(WORKERS)

docs-test: docs ## test the site in Chromium, which is installed where Debian lacks it
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
	  apt-get update -qq && apt-get install -qq --no-install-recommends chromium chromium-driver; }
	$(BIN)/python -m pytest docs/tests

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist .jax_cache .pytest_cache .ruff_cache .hypothesis examples/output
	find $(wildcard src tests examples benchmarks docs) -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed-%: pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --disable-pip-version-check --editable ".[$*]"
	@touch $@

$(VENV)/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: no '$(PYTHON)' found. Name a Python of 3.11 or newer: make PYTHON=/path/to/python" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: '$(PYTHON)' is older than 3.11 or does not run. Name another: make PYTHON=python3.11" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: '$(PYTHON)' cannot make virtual environments: its venv or ensurepip module is missing." >&2; \
	  echo "Install it (on Debian and Ubuntu the package python3-venv) or name another: make PYTHON=..." >&2; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  rm -f $@; \
	  echo "error: '$(PYTHON) -m venv $(VENV)' failed; the reason is above." >&2; \
	  exit 1; }
