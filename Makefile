# Two commands do it all: `make demo` and `make test`. Both set themselves up.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done

.PHONY: help setup demo mnist next-word maintenance mri nodules test test-slow threats lint bench clean

help:
	@echo "make demo   set up and run the main job end to end (four hospitals, real processes)"
	@echo "make test   set up and run all tests that are not marked slow"
	@echo "make setup  the set-up alone    make lint  ruff, mypy --strict, import-linter"
	@echo "make mnist  digits at ε=8, 3 and 1 over five sites: a table beside baselines (15 minutes)"
	@echo "make next-word  the next word of Shakespeare over ten sites, with and without DP (15 minutes)"
	@echo "make maintenance  failing hard drives of four makers that compete, at ε=2, 1 and 0.5, and what each layer costs (2 minutes)"
	@echo "make mri    tumours on brain MRI at four clinics, ε=8 and 3, encrypted, beside baselines (2 minutes)"
	@echo "make nodules  malignancy of lung nodules at four clinics, a patient with several records (4 minutes)"
	@echo "make threats  switch each control of the threat model off, and see its test fail (some 15 minutes)"
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

mnist: setup
	$(BIN)/almoner run jobs/mnist_scattering.yaml --epsilon 8 --epsilon 3 --epsilon 1 --baseline-seeds 1
	$(BIN)/almoner run jobs/mnist_cnn.yaml --baseline-seeds 1

next-word: setup
	$(BIN)/almoner run jobs/next_word.yaml jobs/next_word_dp.yaml --seeds 1

nodules: setup
	$(BIN)/almoner run jobs/lung_nodules_3d.yaml --baseline-seeds 1

maintenance: setup
	$(BIN)/almoner run jobs/predictive_maintenance.yaml --epsilon 0.5 --epsilon 2
	$(BIN)/almoner bench pipeline

mri: setup
	$(BIN)/almoner run jobs/brain_mri.yaml --epsilon 3

test: setup
	$(BIN)/python -m pytest -m "not slow" -n 3 --dist loadfile --no-loadscope-reorder

test-slow: setup
	$(BIN)/python -m pytest -m slow

threats: setup
	$(BIN)/python -m tests.switches

lint: setup
	$(BIN)/ruff check custom tests
	$(BIN)/ruff format --check custom tests
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf build $(VENV)
