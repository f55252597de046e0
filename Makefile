# `make` lists the targets. The first `make demo`, `make test` or `make lint` installs what it needs into .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
# Progress bars at a terminal, only errors in a log.
PIP := $(BIN)/python -m pip install $$([ -t 2 ] || echo -qq) --disable-pip-version-check -c requirements/constraints.txt
RUNTIME := .venv/.installed
TOOLS := .venv/.installed-tests
SOURCES := setup.py requirements/constraints.txt

.PHONY: help setup demo test lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'PYTHON=python3.12 chooses the interpreter that .venv is made with; ARGS="..." goes to the demo or to pytest.'

setup: $(RUNTIME) $(TOOLS) ## make .venv and install mmmtl with its pinned requirements and the test tools

demo: $(RUNTIME) ## train, test and stream a tiny video model on synthetic video; see work_dirs/demo/
	$(BIN)/python demo/run_demo.py $(ARGS)

test: $(RUNTIME) $(TOOLS) ## run the tests that are not marked slow
	$(BIN)/python -m pytest $(ARGS)

lint: $(RUNTIME) $(TOOLS) ## check style, types and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

format: $(TOOLS) ## let ruff repair and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove .venv, builds and caches; leaves data/ and work_dirs/
	rm -rf .venv build dist *.egg-info mmmtl/.mim .mypy_cache .pytest_cache .ruff_cache

# An interrupted install leaves no stamp behind, and a half-made .venv is made anew.
$(RUNTIME): requirements/runtime.txt requirements/mminstall.txt $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo 'mmmtl needs Python 3.10 or newer, and "$(PYTHON)" is not: make $(MAKECMDGOALS) PYTHON=/path/to/python3' >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo 'Installing mmmtl and its requirements into .venv (once, about a minute) ...'
	@rm -f $@
	@$(PIP) setuptools -r requirements/runtime.txt -r requirements/mminstall.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(TOOLS): requirements/tests.txt requirements/optional.txt $(SOURCES) $(RUNTIME)
	@echo 'Installing the test tools into .venv ...'
	@rm -f $@
	@$(PIP) -r requirements/tests.txt -r requirements/optional.txt
	@touch $@
