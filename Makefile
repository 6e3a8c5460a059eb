# Daily commands, for Linux and macOS. CONTRIBUTING.md says what to type on Windows.

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv

# Which versions of the libraries: tested (constraints.txt), newest, or lowest that pyproject.toml
# admits. To change them, run "make clean" first.
VERSIONS ?= tested
CHOOSE_tested := --constraint constraints.txt
CHOOSE_newest := --upgrade --override .ci/newest.txt
CHOOSE_lowest := --resolution lowest-direct
INSTALL = $(UV) pip install --python $(BIN)/python $(or $(CHOOSE_$(VERSIONS)),\
	$(error VERSIONS=$(VERSIONS): expected tested, newest or lowest))

# The first Python that starts, is supported and can make environments (a shim may do none of it).
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c "$(SUITABLE)" 2>/dev/null && echo "$$python" && break; done)

.PHONY: help install demo test check docs constraints clean

help:  ## List these commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 14

install: $(VENV)/.dev  ## Install everything for development into .venv (PYTHON=..., VERSIONS=...)

demo: $(VENV)/.package  ## Score a synthetic slide with the bundled model, end to end
	$(BIN)/wsi-suite demo

test: $(VENV)/.dev  ## Run the tests, on up to four cores
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.dev  ## Lint, check format, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.docs  ## Build the documentation site into build/site; warnings are errors
	PYTHONPATH=. $(BIN)/mkdocs build --strict

constraints: $(UV)  ## Make constraints.txt anew from pyproject.toml: the newest versions that agree
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --group dev \
		--group docs --no-annotate --custom-compile-command "make constraints" \
		--output-file constraints.txt pyproject.toml

clean:  ## Remove .venv, builds and caches
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find wsi_suite tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# uv installs the packages: it is several times faster than pip, and compiles constraints.txt.
$(UV):
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 that can make environments was" \
		"found: install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

$(VENV)/.package: pyproject.toml constraints.txt | $(UV)
	$(INSTALL) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.package
	$(INSTALL) --editable '.[train,hpc,export,explain,review,spatial]' --group dev
	touch $@

$(VENV)/.docs: $(VENV)/.package
	$(INSTALL) --group docs
	touch $@
