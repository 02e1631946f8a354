# `make` alone lists what there is. Everything is installed into .venv, once.

PYTHON ?= python3
VENV ?= .venv
ENGINE ?= pairtree
ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
EXTRAS := $(shell sed -n '/optional-dependencies/,/^$$/s/^\([a-z0-9]*\) = .*/\1/p' pyproject.toml)
comma := ,

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint stress bench clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1#/p' Makefile | column -t -s '#' 2>/dev/null \
		|| sed -n 's/^\([a-z]*\):.*## /  make \1: /p' Makefile
	@echo
	@echo "Variables: PYTHON=$(PYTHON) (3.10 or later) VENV=$(VENV) ENGINE=$(ENGINE) ARGS="

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "HashStash needs Python 3.10 or later: make $(MAKECMDGOALS) PYTHON=python3.x"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

# A stamp is newer than pyproject.toml while nothing has to be installed again.
$(VENV)/.demo-%: pyproject.toml | $(BIN)/python
	@echo "Installing HashStash with the recommended extras into $(VENV)" >&2
	@$(PIP) install --editable '.[rec$(addprefix $(comma),$(filter $*,$(EXTRAS)))]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing HashStash for development into $(VENV)" >&2
	@$(PIP) install --editable '.[dev]'
	@touch $@ $(addprefix $(VENV)/.demo-,pairtree sqlite memory $(EXTRAS))

venv: $(VENV)/.dev ## make .venv with all extras and the tools

demo: $(VENV)/.demo-$(ENGINE) ## stash an analysis of Python's own library, twice (ENGINE=lmdb, ARGS=--keep)
	@$(BIN)/python -m hashstash demo --engine $(ENGINE) $(ARGS)

test: $(VENV)/.dev ## run every test in parallel, except those that take minutes
	@$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not stress" $(ARGS)

lint: $(VENV)/.dev ## ruff, formatting and strict types
	@$(BIN)/ruff check $(ARGS)
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

stress: $(VENV)/.dev ## run the tests that take minutes
	@$(BIN)/python -m pytest -q -n auto --dist worksteal -m stress --timeout=1800 $(ARGS)

bench: $(VENV)/.dev ## measure speed beside the bare engines (ARGS=scaling)
	@$(BIN)/python -m benchmarks $(or $(ARGS),ops)

clean: ## remove what was built and cached; .venv stays
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
