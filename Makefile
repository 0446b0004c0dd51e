# Each target makes .venv and installs what it needs when pyproject.toml is newer: only Python 3.11+ and make are wanted.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo serve test check format bench bench-trouble bench-history faults torture picture seed-failure clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

demo: .venv/installed  ## run Switchboard with a sandbox API and three ready connections
	$(BIN)/switchboard demo

serve: .venv/installed  ## run Switchboard
	$(BIN)/switchboard serve

test: .venv/installed  ## run the tests, on SQLite and on PostgreSQL
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/installed  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed  ## measure side by side with what it replaces; writes docs/benchmarks.md (needs nginx and wrk)
	$(BIN)/python benchmarks/run.py

bench-trouble: .venv/installed  ## measure storms, a neighbour that hangs, bombs of a gigabyte
	$(BIN)/python benchmarks/trouble.py

bench-history: .venv/installed  ## measure on a history of ten million calls: 30 GB for half an hour (needs nginx and wrk)
	$(BIN)/python benchmarks/history.py

faults: .venv/installed  ## inject faults into a served process; writes docs/faults.md (SEED=1, ONLY=19,21 to replay some)
	$(BIN)/python -m faults $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

torture: .venv/installed  ## kill -9 what keeps tokens, a thousand times; writes docs/torture.md (SEED=1, KILLS=150, ONLY=kills,crowd)
	$(BIN)/python -m faults.torture $(if $(SEED),--seed $(SEED)) $(if $(KILLS),--kills $(KILLS)) $(if $(ONLY),--only $(ONLY))

picture: .venv/installed  ## take the picture of the README anew (needs Chromium)
	SWITCHBOARD_TEST_PICTURES=docs $(BIN)/python -m pytest -q tests/browser -k picture_of_the_readme

seed-failure: .venv/installed  ## show the old design's thread errors, and the same load here
	$(BIN)/python benchmarks/seed_failure.py

clean:  ## remove what the targets made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache

.venv/installed: pyproject.toml
	@if command -v uv >/dev/null 2>&1; then uv venv -q --allow-existing .venv && uv pip install -q -p .venv -e '.[dev]'; \
	else $(PYTHON) -m venv .venv && $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'; fi
	@touch $@
