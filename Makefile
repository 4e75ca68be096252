# The commands of this project; README, CI and CONTRIBUTING use the same names.

BIN := .venv/bin
READY := .venv/.ready
BENCHES := bench-capture bench-failover bench-finalize bench-fleet bench-media bench-start

# Most tests wait more than they work: two cores carry four workers, but only two whole services with their media. A file's
# tests share what they start, and stay together; the order is that of tests/conftest.py.
PARALLEL := --dist loadfile --no-loadscope-reorder
REALTIME := tests/system/realtime

# Some machines forbid it. Demo and tests start hundreds of processes, and each would compile all it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: demo up test check format bench $(BENCHES) generated help

demo: $(READY) ## Record simulated peers on nodes that come and go, and check the files
	@$(BIN)/edumeet-recording demo

up: $(READY) ## Run everything on this machine until Ctrl-C; prints the URLs and a token
	@$(BIN)/edumeet-recording up

test: $(READY) ## Run all tests
	@$(BIN)/pytest --numprocesses 4 $(PARALLEL) --ignore tests/system
	@$(BIN)/pytest --numprocesses 2 $(PARALLEL) --ignore $(REALTIME) tests/system
	@$(BIN)/pytest --numprocesses 2 $(PARALLEL) $(REALTIME)

check: $(READY) ## Check format, lint, types and layers
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-cache --no-logo

format: $(READY) ## Format the code and mend what ruff can mend
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

bench: $(BENCHES) ## Run all benchmarks; figures also go to build/bench/

$(BENCHES): bench-%: $(READY) ## Run one benchmark
	@$(BIN)/python -m edumeet_recording.bench.$*

generated: $(READY) ## Write the checked-in files that are made from code
	@$(BIN)/python tools/env_example.py > .env.example
	@$(BIN)/python -m edumeet_recording.api.openapi openapi.json
	@$(BIN)/python -m edumeet_recording.store.migrate

# Up to date as long as neither the project nor its lock has changed: warm runs install nothing.
$(READY): pyproject.toml uv.lock tools/bootstrap
	@tools/bootstrap
	@touch $@

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z$$].*:.*## / { sub(/^\$$\(BENCHES\)/, "bench-NAME", $$1); sub(/:.*/, "", $$1); printf "%-12s %s\n", $$1, $$2 }' Makefile
