# Everything a person types. `make` alone explains itself.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
SELECTION := "not bench and not nightly"
TOLD := --durations=25 --durations-min=5

##@ Start
.PHONY: help setup up down logs demo
help: ## Show this page
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  \033[36m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed ## Create .venv with everything pinned and hash-checked

.venv/.installed: requirements.lock pyproject.toml libs/millrace/pyproject.toml lab/pyproject.toml
	@PYTHON=$(PYTHON) tools/setup

up: setup ## Start the local stack (PostgreSQL and Kafka); BROKERS=3 for a cluster
	$(BIN)/python -m lab up --brokers $(or $(BROKERS),1)

down: setup ## Stop the local stack; WIPE=1 removes its data
	$(BIN)/python -m lab down $(if $(WIPE),--wipe)
	$(BIN)/python -m lab down --folder .millrace/demo $(if $(WIPE),--wipe)

logs: setup ## Follow the local stack's logs
	$(BIN)/python -m lab logs -f

demo: setup ## A quarter of a small company through the whole pipeline; EVENTS=file CHAOS=1 SEED=n STAY=1
	$(BIN)/python -m lab demo $(if $(EVENTS),--events $(EVENTS)) $(if $(CHAOS),--chaos) $(if $(SEED),--seed $(SEED)) $(if $(STAY),--stay)

##@ Check
.PHONY: format lint types imports check test test-fault soak model bench bench-relay bench-consumer
format: setup ## Format and sort imports
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: setup ## Style, without changing anything
	$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: setup ## mypy, strict
	$(BIN)/mypy

imports: setup ## Who may import whom
	$(BIN)/lint-imports

check: lint types imports ## All static promises

# What measures time has the machine to itself; everything else takes both cores.
test: check ## Static promises, then every test on real PostgreSQL and Kafka
	$(BIN)/python -m pytest -m $(SELECTION) -n 2 --dist loadgroup $(TOLD) tests/contract tests/unit tests/property \
	    tests/e2e tests/fault/consumer tests/integration --ignore tests/integration/outbox_relay
	$(BIN)/python -m pytest -m $(SELECTION) $(TOLD) tests/fault/ingest tests/fault/outbox_relay tests/integration/outbox_relay

test-fault: setup ## Every fault in its long form; FAULT_RUNS=100 deaths at each point
	FAULT_RUNS=$${FAULT_RUNS:-100} $(BIN)/python -m pytest -m "not bench" tests/fault
	$(BIN)/python -m pytest -m nightly tests/integration tests/e2e
	INGEST_FUZZ_TRIES=$${INGEST_FUZZ_TRIES:-100000} $(BIN)/python -m pytest tests/property/test_ingest_route.py

soak: setup ## Relays under random faults for an hour; SOAK_MINUTES=60 SEED=n
	SOAK_MINUTES=$${SOAK_MINUTES:-60} $(BIN)/python -m pytest -s tests/fault/outbox_relay/test_soak.py

model: setup ## The relay's protocol, every interleaving, and the mistakes that it must find (spin, gcc)
	$(BIN)/python -m model

bench: setup ## Ratios against named baselines, measured in one run
	BENCH_EVENTS=$${BENCH_EVENTS:-200000} $(BIN)/python -m pytest -m bench -s tests/bench

bench-relay: setup ## The relay alone: drain, latency, poll, ingest beside it; RELAY_BENCH_ROWS=100000
	$(BIN)/python -m pytest -m bench -s tests/bench/test_relay.py

bench-consumer: setup ## The consumer runtime alone: its cost, a backlog; CONSUMER_BENCH_EVENTS=100000
	$(BIN)/python -m pytest -m bench -s tests/bench/test_consumer.py

##@ Data
.PHONY: schemas lock
schemas: setup ## Write schemas/, docs/events.md and the generated parts of docs/lab anew from the code
	$(BIN)/python schemas/generate.py
	$(BIN)/python docs/lab/generate.py

lock: ## Resolve the lock files anew: names, versions and hashes only
	tools/lock
