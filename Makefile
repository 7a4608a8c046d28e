# The project's commands. Each one sets up what it needs on a fresh machine.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
JOBS   ?= 3

.PHONY: setup demo test check nightly bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml .ci/setup
	PYTHON=$(PYTHON) .ci/setup
	@touch $@

demo: setup
	$(BIN)/fedgate demo --once

test: setup
	$(BIN)/pytest -n $(JOBS) --dist loadgroup

# Every property of hostile input with 100,000 examples: about an hour. The report says how many were tried.
nightly: setup
	$(BIN)/pytest -n 2 tests/hostile --hypothesis-profile nightly --hypothesis-show-statistics

check: setup build/stubs/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Everything, five times over: half an hour. See bench/run.py for less.
bench: setup
	.ci/programs wrk haproxy dnsperf
	$(BIN)/python -m bench.run $(BENCH)

build/stubs/.ready: .ci/stubs.py pyproject.toml
	$(BIN)/python .ci/stubs.py build/stubs
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
