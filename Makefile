# The commands of the project. Each of them first builds .venv, if it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help install compare test bench gpu-check campaign pages lint format clean
.DEFAULT_GOAL := help

help:
	@echo "make compare   run experiments/studies/first.yaml and write its report (about 5 minutes)"
	@echo "make test      lint, types and tests (about 20 minutes on two cores)"
	@echo "make bench     speed ratios against the peers, into results/"
	@echo "make gpu-check what a CUDA device must do, in at most 5 minutes; ends with 2 where there is none"
	@echo "make campaign  kill runs at every moment and feed everything nonsense; the long form of two tests"
	@echo "make pages     solve the suite anew; write its scores, pictures and pages"
	@echo "make lint      ruff and pyright only"
	@echo "make format    let ruff rewrite what it can"
	@echo "make install   only build .venv"
	@echo "PYTHON=python3.12 chooses the interpreter that .venv is built from (3.10 or newer)."

# The stamp is written last: an installation that was interrupted or failed is done again.
$(STAMP): pyproject.toml setup.cfg constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "tokengym needs Python 3.10 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[dev]'
	@$(PIP) -e '.[reasoning]' || \
	  echo "The extra 'reasoning' could not be installed: one of its packages is compiled, which takes a C compiler and \
	Python's headers. All else works; the tests of ReasoningGym are skipped." >&2
	@$(PIP) -e '.[textarena]' || \
	  echo "The extra 'textarena' could not be installed. All else works; the tests with its games are skipped." >&2
	@touch $@

install: $(STAMP)

compare: $(STAMP)
	$(BIN)/tokengym compare experiments/studies/first.yaml

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: export OMP_NUM_THREADS = 1
bench: $(STAMP)
	@$(PIP) -e '.[trl]' || \
	  echo "The extra 'trl' could not be installed. All else works; the comparison with TRL is left out." >&2
	$(BIN)/python -m benchmarks.run

gpu-check: $(STAMP)
	$(BIN)/python -m benchmarks.gpu_check

campaign: export OMP_NUM_THREADS = 1
campaign: $(STAMP)
	$(BIN)/python -m tests.campaign

pages: $(STAMP)
	$(BIN)/python -m tokengym.experiments.suite.pages

clean:
	rm -rf $(VENV) build dist *.egg-info
