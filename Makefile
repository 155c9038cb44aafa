# The commands of this project; `.ci/run` calls the same ones.
PYTHON ?= python3
VENV := .venv
PEERS := .venv-bench
FUZZ := .venv-fuzz
BIN := $(VENV)/bin

.PHONY: run test nightly crash conformance fuzz check bench docs clean

run: $(VENV)/run.stamp  ## Install into .venv and show the live usage of Claude Code sessions
	$(BIN)/rxpipe run usage

test: $(VENV)/test.stamp  ## Run the whole suite
	$(BIN)/python -m pytest -n auto --dist loadgroup

nightly: $(VENV)/test.stamp  ## The same with many examples of each property, and with what takes long
	$(BIN)/python -m pytest -n auto --dist loadgroup -m "nightly or not nightly" --hypothesis-profile nightly

crash: $(VENV)/test.stamp  ## Kill runs and lose power as often as KILLS says; SEED repeats what it did
	$(BIN)/python -m tests.faults.test_crash $(or $(KILLS),2000) $(SEED)

check: $(VENV)/check.stamp  ## Lint, format and type checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright

bench: $(VENV)/test.stamp $(PEERS)/peers.stamp  ## Benchmarks with their peers in the same run; BENCH="events --size 100MB" chooses
	$(BIN)/python tests/benchmarks $(BENCH)

fuzz: $(FUZZ)/fuzz.stamp  ## Fuzz the parsers with atheris; FUZZING="json graph --seconds 600" chooses
	$(FUZZ)/bin/python tests/hostile/fuzz.py $(FUZZING)

conformance: $(VENV)/test.stamp $(PEERS)/peers.stamp  ## Follow files through whatever happens to them, with peers; FULL=1 in full size
	$(BIN)/python -m tests.conformance.tailing --write $(if $(FULL),--full) $(CONFORMANCE)

docs: $(VENV)/run.stamp  ## Generate the operator reference, the operators' type stubs and the picture of the screen
	$(BIN)/python -m rxpipe.views.pages --write
	$(BIN)/python docs/make_screen.py

clean:
	rm -rf $(VENV) $(PEERS) $(FUZZ) fuzzed build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rxpipe needs Python 3.11 or later; found " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	$(BIN)/python -m compileall -q rxpipe operators graphs  # also where Python is told not to, so that it starts fast
	touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

$(VENV)/check.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	touch $@

$(PEERS)/peers.stamp: tests/benchmarks/peers.txt
	$(PYTHON) -m venv $(PEERS)
	while read -r peer; do \
		$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check "$$peer" || echo "$$peer: left out, it cannot be installed here"; \
	done < tests/benchmarks/peers.txt
	npm install --silent --no-audit --no-fund --prefix $(PEERS) ccusage@20.0.24 @ccusage/ccusage-linux-x64@20.0.24 || echo "ccusage: left out, it cannot be installed here"
	touch $@

$(FUZZ)/fuzz.stamp: pyproject.toml
	$(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check atheris || echo "atheris: left out, it cannot be installed here"
	touch $@
