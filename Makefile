# The commands of the project. Each makes what it needs and can be run twice.
#
#   make demo    train a network on a real data set and look inside it
#   make test    the whole test suite
#   make check   style, types, architecture and the quick tests
#   make bench   measure speed against other libraries
#   make clean   remove everything that the other commands made

.POSIX:
.PHONY: demo test check lint bench clean
.SUFFIXES:

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
CORE = $(VENV)/.core-installed
DEV = $(VENV)/.dev-installed
BENCH = .bench
PEERS = $(BENCH)/.peers-installed

# One thread per test process: several processes run side by side.
PYTEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	$(BIN)/python -m pytest -n auto --maxprocesses=4

demo: $(CORE)
	$(BIN)/pellucid demo

test: $(DEV)
	$(PYTEST)

check: lint
	$(PYTEST) -m "not slow"

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

# In an environment of its own: the other libraries are no dependencies of ours.
bench: $(PEERS)
	$(BENCH)/bin/python -m benchmarks

clean:
	rm -rf $(VENV) $(BENCH) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks examples -name __pycache__ -type d -prune \
		-exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Pellucid needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)

$(CORE): $(BIN)/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(DEV): $(BIN)/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(CORE) $@

$(PEERS): $(BIN)/pip pyproject.toml benchmarks/requirements.txt
	test -x $(BENCH)/bin/pip || $(BIN)/python -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --editable . \
		--requirement benchmarks/requirements.txt
	touch $@
