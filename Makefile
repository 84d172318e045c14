# Every target first makes sure of the environment (a few milliseconds when it is up to date).
# Names, ports and folders: `make help`.
VENV = $${DESKWIRE_VENV:-.venv}
PY = "$(VENV)/bin/python"
LOCAL = $(PY) -m deploy.local
BIN = "$(VENV)/bin"
.DEFAULT_GOAL := help
.PHONY: help environment demo up down status logs restart run test unit integration scenarios soak bench suites lint format types lock new-service env engine-images images secrets compose-test secure-test helm-check clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { gsub(/\$$\$$/, "$$", $$2); printf "  %-14s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  Variables: ORIGIN_PORT (8400), KAFKA_URL DATABASE_URL OPENSEARCH_URL (use these engines), ENGINES=docker,"
	@echo "  DESKWIRE_STATE (.deskwire), DESKWIRE_CACHE, DESKWIRE_VENV (.venv), PYTHON, and <SERVICE>_HTTP_PORT, KAFKA_PORT,"
	@echo "  POSTGRES_PORT, OPENSEARCH_PORT (else free ones), DESKWIRE_MAVEN_URL (a mirror), DESKWIRE_SKIP_CHECKS=1, ARGS (for pytest)."

environment:
	@sh deploy/local/ensure

demo: environment ## Set up everything, start it and play the main job (MAIL=folder of .eml or mbox, CRASH_ONE=triage)
	@MAIL="$(MAIL)" CRASH_ONE="$(CRASH_ONE)" $(LOCAL) demo

up: environment ## Start engines and services in the background
	@$(LOCAL) up

down: environment ## End what `up` started, and nothing else
	@$(LOCAL) down

status: environment ## Show what runs, where, and how large it is
	@$(LOCAL) status

logs: environment ## Follow a log: make logs S=tickets
	@$(LOCAL) logs "$(S)"

restart: environment ## Restart one service or engine: make restart S=tickets
	@$(LOCAL) restart "$(S)"

run: environment ## Run several services in one process: make run S="ingest tickets"
	@$(LOCAL) run $(S)

test: environment ## Pass every test, on engines of their own (ARGS="-k name")
	@$(LOCAL) test $(ARGS)

unit: environment ## Pass the tests that need no engine
	@DESKWIRE_DOSE=short $(BIN)/pytest tests/unit $(ARGS)

integration: environment ## Pass the tests against the engines
	@$(LOCAL) test tests/integration $(ARGS)

scenarios: environment ## Pass the tests of the whole
	@$(LOCAL) test tests/scenarios $(ARGS)

soak: environment ## Pass the long doses (hours)
	@DESKWIRE_DOSE=full $(BIN)/pytest tests/unit
	@DESKWIRE_DOSE=full $(LOCAL) test -m soak $(ARGS)

bench: environment ## Measure: a table, and build/bench.json
	@$(LOCAL) bench $(ARGS)

suites: environment ## Run the case suites over a folder: make suites DATA=path
	@$(LOCAL) suites "$(DATA)"

lint: environment ## Check style, formatting and the walls between services
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

format: environment ## Put the sources in their format
	@$(BIN)/ruff check --fix-only --quiet . ; $(BIN)/ruff format .

types: environment ## Check the types
	@$(BIN)/mypy

lock: environment ## Resolve the dependencies anew (UPGRADE=1: newest of everything)
	@$(PY) -m deploy.local.lock $(if $(UPGRADE),--upgrade)

new-service: environment ## Make a working, tested service: make new-service NAME=csat
	@$(PY) -m cli new-service "$(NAME)"

env: environment ## Print the addresses as shell exports: eval "$$(make env)"
	@$(LOCAL) env

engine-images: environment ## Build the engines' images (needs Docker; DESKWIRE_BASE_IMAGE names the base)
	@$(LOCAL) images

images: environment ## Build the services' images: make images S="tickets cli" (needs Docker; DESKWIRE_BASE_IMAGE, DESKWIRE_TAG)
	@$(PY) -m deploy.containers images $(S)

secrets: environment ## Make the secret files that Compose hands out (DESKWIRE_SECRETS names the folder)
	@$(PY) -m deploy.containers secrets

compose-test: environment ## Play the whole in containers: demo, a kill, rolls, scaling (needs Docker; DESKWIRE_BASE_IMAGE, DESKWIRE_COMPOSE)
	@$(PY) -m tests.containers

secure-test: environment ## Play a message and denied writes in containers on closed engines: TLS, SCRAM, rights (needs Docker)
	@$(PY) -m tests.containers.secured

helm-check: environment ## Lint, render and check the chart for every file of values (HELM names the program)
	@$(PY) -m deploy.containers helm-check

clean: ## End what runs; delete state, environment and caches of this checkout
	@if [ -x $(PY) ]; then $(LOCAL) clean; fi
	@rm -rf .deskwire "$(VENV)" build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
