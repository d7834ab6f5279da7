# Two commands do it all: `make demo` and `make test`. Both set themselves up.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done

.PHONY: help setup demo test test-slow lint bench clean

help:
	@echo "make demo   set up and run the main job end to end (four hospitals, real processes)"
	@echo "make test   set up and run all tests"
	@echo "make setup  the set-up alone    make lint  ruff, mypy --strict, import-linter"
	@echo "make bench  benchmarks, written to build/bench.json    make test-slow  the slow tests"

setup: $(STAMP)

$(STAMP): constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "almoner needs Python 3.11: install it, or give PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/almoner demo

test: setup
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check custom tests
	$(BIN)/ruff format --check custom tests
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf build $(VENV)
