# Everything runs in .venv, which the first target makes: only Python >= 3.11 and make are required.

HOST ?= 127.0.0.1
PORT ?= 8000
# More processes than cores, since tests of processes wait much of their time.
PYTEST_ARGS ?= -n 3 --dist worksteal
# Deselected: two tests that count the log files and the memory of a server, which coverage changes.
COVERAGE_ARGS := --cov --cov-report=term:skip-covered --cov-fail-under=95 \
  --deselect tests/system/test_streams.py::test_a_reader_that_stalls_costs_no_memory_and_gets_an_end \
  -k "not test_a_failing_mail_server_that_echoes_leaves_no_clear_ticket"
TESTS ?= tests/faults
FUZZ := tests/contracts/test_foreign_input.py tests/http/core/test_foreign_requests.py tests/http/core/test_token_fuzz.py \
  tests/http/core/test_schemathesis.py tests/outbound/keys/test_key_set.py tests/application/users/test_csv_rows.py
TIMES ?= 20

BIN := .venv/bin
# The stamp is written last, so an interrupted set-up is done again.
READY := .venv/.ready
CODE := domain application interface tests

# uv's cache goes where an ordinary user without a writable home may write, too.
export UV_CACHE_DIR := $(shell mkdir -p "$$HOME/.cache/uv" 2>/dev/null && test -w "$$HOME/.cache/uv" \
  && echo "$$HOME/.cache/uv" || echo "$(CURDIR)/.venv/cache")
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The tests start hundreds of processes: each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help docs faults fuzz run test test-slow test-repeat coverage check check-static lint format types imports lock audit sbom clean soak bench bench-quick bench-large bench-page bench-timing

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(READY) ## Serve the demo on HOST:PORT (127.0.0.1:8000)
	$(BIN)/tickets serve --demo --host $(HOST) --port $(PORT)

test: $(READY) ## Run the tests, each in its short form, in about 10 minutes (PYTEST_ARGS: arguments of pytest)
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow"

coverage: $(READY) ## Run the tests of `make test`, and fail below 95 % of the lines and branches (about 20 minutes)
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow" $(COVERAGE_ARGS)

test-slow: $(READY) ## Run the slow tests: kills, guesses, fuzzing and mixed versions at length
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m slow

fuzz: $(READY) ## Send 100,000 cases to each boundary of foreign input, and as many requests by the OpenAPI document (hours)
	TICKETS_TEST_FUZZ_CASES=100000 TICKETS_TEST_SCHEMATHESIS_EXAMPLES=1000 \
	  $(BIN)/python -m pytest -s --timeout=0 $(PYTEST_ARGS) -m slow $(FUZZ)

test-repeat: $(READY) ## Run TESTS (tests/faults) TIMES (20) times, beside a busy loop
	@$(BIN)/python -c 'while True: pass' & busy=$$!; trap "kill $$busy" EXIT; failed=0; \
	for run in $$(seq $(TIMES)); do \
	  $(BIN)/python -m pytest --quiet $(PYTEST_ARGS) $(TESTS) || failed=$$((failed + 1)); \
	done; \
	echo "$$failed of $(TIMES) runs failed"; test $$failed = 0

check: check-static docs test test-slow ## Lint, format, types, imports, docs and tests: everything that CI checks

check-static: lint format types imports

lint: $(READY)
	$(BIN)/ruff check

format: $(READY)
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

docs: $(READY) ## Build the documentation site in var/site; a broken link is an error
	$(BIN)/zensical build --clean --strict

$(READY): requirements.lock pyproject.toml
	@python=; for candidate in python3.13 python3.12 python3.11 python3 python; do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "make: no Python >= 3.11 with venv on the PATH: install one, on Debian python3 and python3-venv" >&2; exit 1; fi; \
	echo "Setting up .venv with $$python"; "$$python" -m venv --clear .venv
	@if command -v uv >/dev/null 2>&1; then ln -sf "$$(command -v uv)" $(BIN)/uv; else \
	  awk '/^[^ #]/ {uv = /^uv==/} uv' requirements.lock > .venv/uv.txt; \
	  $(BIN)/python -m pip install --quiet --require-hashes -r .venv/uv.txt; \
	fi
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $(READY)

faults: $(READY) ## Fill disks, stop databases, set clocks back, and more: requires root and an idle machine (about 10 minutes)
	TICKETS_TEST_FAULTS=1 $(BIN)/python -m pytest tests/faults

soak: $(READY) ## Kill servers, pushers, subscribers and databases, and fail mails, at length (about two and a half hours)
	TICKETS_TEST_SOAK_MINUTES=20 $(BIN)/python -m pytest -s -x -m slow tests/faults/test_soak.py
	TICKETS_TEST_SOAK_MINUTES=10 $(BIN)/python -m pytest -s -x -m slow tests/faults/test_shared_file.py
	TICKETS_TEST_CRASHES=100 $(BIN)/python -m pytest -s -x -m slow tests/faults/test_crashes.py
	TICKETS_TEST_SUBSCRIBER_ROUNDS=50 $(BIN)/python -m pytest -s -x -m slow tests/faults/test_subscribers.py
	TICKETS_TEST_FAULTS=1 TICKETS_TEST_FAILOVERS=10 $(BIN)/python -m pytest -s -x tests/faults/test_failover.py
	TICKETS_TEST_DELIVERY_RESETS=10000 $(BIN)/python -m pytest -s -x -m slow tests/faults/test_failing_mail_server.py

bench: $(READY) ## Measure every operation beside a bare server and the textbook way, with targets (about 15 minutes; BENCH_ARGS)
	$(BIN)/python -m tests.bench.run $(BENCH_ARGS)

bench-quick: $(READY) ## The same with fewer rounds and small stores (a few minutes; ten on a busy machine)
	$(BIN)/python -m tests.bench.run --quick $(BENCH_ARGS)

bench-large: $(READY) ## Measure a store of 10,000,000 credentials, and a server after 1,000,000 resets (hours)
	$(BIN)/python -m tests.bench.run --large $(BENCH_ARGS)

bench-page: $(READY) ## Write the measured figures into docs/benchmarks.md and the README
	$(BIN)/python -m tests.bench.page

bench-timing: $(READY) ## Measure whether refused verifications can be distinguished by their cost
	$(BIN)/python -m tests.bench.verify_timing

.PHONY: bench-peer
bench-peer: $(READY) ## Measure a reset and a verification beside privacyIDEA, and install it first (about 10 minutes)
	$(BIN)/python -m tests.bench.peer

lock: $(READY) ## Pin the newest versions of everything, with hashes, in requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --upgrade --extra dev --output-file requirements.lock pyproject.toml

SBOM ?= dist/sbom.json
SBOM_ARGS ?= --validate

sbom: $(READY) ## List the packages of an installation, from the lock, as CycloneDX in SBOM (dist/sbom.json)
	@mkdir -p $(dir $(SBOM))
	$(BIN)/python deploy/locked.py runtime | $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml \
	  --output-reproducible $(SBOM_ARGS) --output-file $(SBOM) -

audit: $(READY) ## Check the packages of the lock for known vulnerabilities (requires the network)
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

clean: ## Remove the environment and all caches (not var/)
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* dist
