# Everything a person types. `make` alone explains itself.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The interpreter's own copies of uv are used when present; otherwise a private one comes from PyPI.
UV = $(or $(shell command -v uv 2>/dev/null),.millrace/tools/bin/uv)
LOCK_BEFORE := 2026-09-01

##@ Start
.PHONY: help setup up down logs demo
help: ## Show this page
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  \033[36m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## Create .venv with everything pinned and hash-checked

$(VENV)/.installed: requirements.lock pyproject.toml libs/millrace/pyproject.toml
	@command -v uv >/dev/null 2>&1 || test -x .millrace/tools/bin/uv || { \
	  echo "uv is missing: taking it from PyPI into .millrace/tools"; \
	  $(PYTHON) -m venv --without-pip .millrace/tools >/dev/null 2>&1; \
	  $(PYTHON) -m pip --python .millrace/tools/bin/python install -q uv==0.13.0 || exit 1; }
	$(UV) venv -q --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip install -q --python $(BIN)/python --require-hashes -r requirements.lock
	$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e libs/millrace -e .
	@touch $@

up: setup ## Start the local stack (PostgreSQL and Kafka); BROKERS=3 for a cluster
	$(BIN)/python -m lab up --brokers $(or $(BROKERS),1)

down: setup ## Stop the local stack; WIPE=1 removes its data
	$(BIN)/python -m lab down $(if $(WIPE),--wipe)

logs: setup ## Follow the local stack's logs
	$(BIN)/python -m lab logs -f

demo: setup ## A quarter of a small company through the whole pipeline; EVENTS=file CHAOS=1 SEED=n
	$(BIN)/python -m lab demo $(if $(EVENTS),--events $(EVENTS)) $(if $(CHAOS),--chaos) $(if $(SEED),--seed $(SEED))

##@ Check
.PHONY: format lint types imports check test bench
format: setup ## Format and sort imports
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: setup ## Style, without changing anything
	$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: setup ## mypy, strict
	$(BIN)/mypy

imports: setup ## The four arrows
	$(BIN)/lint-imports

check: lint types imports ## All static promises

test: check ## Static promises, then every test on real PostgreSQL and Kafka
	$(BIN)/python -m pytest -m "not bench"

bench: setup ## Ratios against named baselines, measured in one run
	$(BIN)/python -m pytest -m bench -s tests/bench

##@ Data
.PHONY: lock
lock: ## Resolve requirements.lock anew: names, versions and hashes only
	$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --exclude-newer $(LOCK_BEFORE) --exclude-newer-package stripe=2026-11-10 --no-emit-package millrace \
	  --extra lab --extra dev pyproject.toml -o requirements.lock
