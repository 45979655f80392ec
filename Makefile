.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

help: ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.complete ## make .venv with the flowscope command

.venv/.complete: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed. Hint: make PYTHON=python3.11 setup"; exit 1; }
	@$(PYTHON) -m venv .venv || { apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv .venv; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## ingest the recorded runs and open the app
	$(BIN)/flowscope demo

test: setup system ## run every test, two files at a time
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

system: ## install the servers the tests use, where they are missing and can be installed
	@command -v redis-server >/dev/null || apt-get install -y -qq redis-server >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq redis-server >/dev/null; } || echo "redis-server is missing: its tests will be skipped"
	@command -v chromium >/dev/null || apt-get install -y -qq chromium >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } || echo "chromium is missing: the browser tests will be skipped"

check: setup ## lint, types, import contracts, drift of generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m warehouse.reference --check

generate: setup ## write the files made from the table descriptions
	$(BIN)/python -m warehouse.reference

bench: setup ## measure ratios, two things side by side in one run
	$(BIN)/python -m benchmarks

lock: setup ## resolve the dependencies again
	uv pip compile --quiet --upgrade --generate-hashes --extra dev --python-version 3.11 pyproject.toml -o requirements.lock

.PHONY: help setup demo test system check generate bench lock
