# What a newcomer needs: `make demo` and `make test`. Everything is installed into .venv; nothing else is touched.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-stop test test-fast lint audit fuzz load faults bench docs lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ready ## Install provision and what its tests need into .venv

.venv/.ready: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "provision needs Python 3.10 or newer: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "this Python can't make virtual environments: install its venv package (Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## Three throw-away hosts on this machine, a real Ray cluster on them
	$(BIN)/provision sandbox start
	$(BIN)/provision apply inventory/local.yml
	@printf '\nTo type these commands as they stand:  export PATH="$(CURDIR)/.venv/bin:$$PATH"\nWhen you have seen enough:  make demo-stop\n'

demo-stop: ## Stop the demo and remove it without a trace
	@[ ! -d .sandbox ] || $(BIN)/provision sandbox start
	@[ ! -d .sandbox ] || $(BIN)/provision teardown inventory/local.yml --yes --purge
	@[ ! -d .sandbox ] || $(BIN)/provision sandbox stop --remove

test: setup lint ## Every test: unit, sandbox, and on real lab hosts (root on Debian; elsewhere these say that they are skipped)
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations 40

test-fast: setup ## The unit tests only, in seconds
	$(BIN)/python -m pytest -q tests/unit

lint: setup ## Style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: setup ## Anything at all as inventories, playbooks, messages and facts: 23,000 examples
	PROVISION_FUZZ=nightly $(BIN)/python -m pytest -q --timeout 3600 --durations 8 tests/fuzz

load: setup ## 200 sandbox hosts in one apply, three of which fail in different ways
	PROVISION_LOAD=200 $(BIN)/python -m pytest -q -s tests/sandbox/test_load.py

faults: setup ## Hurt a run at each of its events, in six ways, and have the next one mend it: hours, and goes on where it was ended
	$(BIN)/python -u -m tests.faults

audit: setup ## Ask PyPI whether anything that is locked has a known hole
	$(BIN)/python -m tests.audit

bench: setup ## Speed against the floor, on lab hosts
	$(BIN)/python -m tests.bench

docs: setup ## The documentation as a site, in build/site
	$(BIN)/mkdocs build --strict

lock: setup ## Lock the development dependencies anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --group dev pyproject.toml \
	  --generate-hashes --no-header --no-annotate --output-file requirements-dev.lock

clean: ## Remove .venv and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
