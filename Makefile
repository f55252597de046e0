# `make` lists the targets. The first `make demo`, `make test` or `make lint` installs what it needs into .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
CONSTRAINTS ?= requirements/constraints.txt
ARGS ?=
TABLE ?= video-tiny
SEEDS ?= 5
ROWS ?=
JOBS ?= 2
N ?= 50000
TAG ?=

# constraints.txt goes into .venv, constraints-oldest.txt into .venv-oldest.
VENV := .venv$(addprefix -,$(patsubst constraints-%,%,$(filter-out constraints,$(basename $(notdir $(CONSTRAINTS))))))
BIN := $(VENV)/bin
# Progress bars at a terminal, only errors in a log.
PIP := $(BIN)/python -m pip install $$([ -t 2 ] || echo -qq) --disable-pip-version-check -c $(CONSTRAINTS)
CREATED := $(VENV)/pyvenv.cfg
RUNTIME := $(VENV)/.installed
TOOLS := $(VENV)/.installed-tests
HEAVY := $(VENV)/.installed-slow
SOURCES := setup.py $(CONSTRAINTS)
PYTEST := $(BIN)/python -m pytest
IN_PARALLEL := -n auto --maxprocesses 8 --dist loadfile
WHICH := -c 'import sys; print(sys.base_prefix, sys.version)'

.PHONY: help setup demo reproduce test slow faults fuzz lint format docs dist clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'PYTHON=python3.12 chooses the interpreter, CONSTRAINTS=requirements/constraints-oldest.txt the versions that'
	@echo 'are installed, into a .venv-oldest of their own. ARGS="..." goes to the demo or to pytest.'

setup: $(RUNTIME) $(TOOLS) ## make .venv and install mmmtl with its pinned requirements and the test tools

demo: $(RUNTIME) ## train, test and stream a tiny video model on synthetic video; see work_dirs/demo/
	$(BIN)/python demo/run_demo.py $(ARGS)

reproduce: $(RUNTIME) ## train TABLE=video-tiny with SEEDS=5, JOBS=2 side by side, or ROWS="MILA, slow only"; resumes
	$(BIN)/python benchmarks/training.py $(TABLE) --seeds $(SEEDS) --jobs $(JOBS) $(if $(ROWS),--rows '$(ROWS)') $(ARGS)

test: $(RUNTIME) $(TOOLS) ## run the tests that are not marked slow
	$(PYTEST) $(IN_PARALLEL) $(ARGS)

slow: $(HEAVY) ## run the tests that are marked slow, for an hour or more; installs a browser and heavy packages
	$(PYTEST) $(IN_PARALLEL) -m slow $(ARGS)

faults: $(RUNTIME) $(TOOLS) ## kill runs, fill disks and stop processes, and see what is left (docs/reliability.md)
	$(PYTEST) -m faults $(ARGS)

fuzz: $(RUNTIME) $(TOOLS) ## give every reader N=50000 damaged files
	FUZZ=$(N) $(PYTEST) -m 'slow or not slow' tests/fuzz $(ARGS)

lint: $(RUNTIME) $(TOOLS) ## check style, types and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

format: $(TOOLS) ## let ruff repair and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(RUNTIME) ## build the documentation in build/docs/; warnings are errors
	@$(PIP) -r requirements/docs.txt
	rm -rf docs/api build/docs
	$(BIN)/python -m sphinx -W --keep-going -n -b html docs build/docs

dist: $(CREATED) ## build the packages in dist/ and check them; TAG=v1.2.3 must name the version
	@version=v$$($(BIN)/python -c 'exec(open("mmmtl/version.py").read()); print(__version__)'); \
	  [ "$(or $(TAG),$$version)" = "$$version" ] || { echo "The tag is $(TAG), the version $$version." >&2; exit 1; }
	@$(PIP) -r requirements/release.txt
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

clean: ## remove every .venv, builds and caches; leaves data/ and work_dirs/
	rm -rf .venv .venv-* build dist docs/api *.egg-info mmmtl/.mim .mypy_cache .pytest_cache .ruff_cache

# A half-made environment is made anew, and so is one whose interpreter is not the PYTHON that the call names.
$(CREATED): FORCE
	@$(BIN)/python -c 'import pip' 2>/dev/null \
	  && { [ '$(origin PYTHON)' = file ] || [ "$$($(PYTHON) $(WHICH))" = "$$($(BIN)/python $(WHICH))" ]; } \
	  || { $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' && $(PYTHON) -m venv --clear $(VENV); } \
	  || { echo 'mmmtl needs Python 3.10 or newer, with venv, and "$(PYTHON)" is not:' \
	         'make $(MAKECMDGOALS) PYTHON=/path/to/python3' >&2; exit 1; }

# An interrupted install leaves no stamp behind.
$(RUNTIME): requirements/runtime.txt requirements/mminstall.txt requirements/demo.txt $(SOURCES) $(CREATED)
	@echo 'Installing mmmtl and its requirements into $(VENV) (once, about a minute) ...'
	@rm -f $@
	@$(PIP) setuptools -r requirements/runtime.txt -r requirements/mminstall.txt -r requirements/demo.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# Of the optional packages, those that the constraints pin.
$(TOOLS): requirements/tests.txt $(SOURCES) $(RUNTIME)
	@echo 'Installing the test tools into $(VENV) ...'
	@rm -f $@
	@$(PIP) -r requirements/tests.txt -r $(CONSTRAINTS)
	@touch $@

# A chromium of the system will do.
$(HEAVY): requirements/slow.txt $(TOOLS)
	@echo 'Installing what only the slow tests need into $(VENV) ...'
	@rm -f $@
	@$(PIP) -r requirements/slow.txt
	@command -v chromium >/dev/null || $(BIN)/playwright install chromium
	@touch $@
