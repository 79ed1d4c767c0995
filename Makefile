# `make demo` and `make test` set up .venv by themselves; they need Python 3.11 or later and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# `.ci/run` names more extras and packages, which are installed with the others in one go.
MORE_EXTRAS ?=
MORE_PACKAGES ?=
# For what is random under `fuzz`, `faults` and `mutants`.
SEED ?= 1
MINUTES ?= 40

.PHONY: demo kernels test test-all lint docs exactness bench fuzz faults mutants soak gpu clean

demo: $(VENV)/.installed  ## correct the packaged head and draw it
	$(BIN)/n4ax demo

kernels: $(VENV)/.installed  ## compile the kernels again, if their sources have changed
	@$(BIN)/python -m n4ax.kernels >/dev/null || echo "numba compiles them when they are first used"

test: $(VENV)/.installed-test kernels  ## run the quick tests
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "not slow"

test-all: $(VENV)/.installed-test kernels  ## run every test, which takes some 15 minutes
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --durations 40

lint: $(VENV)/.installed-dev  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: $(VENV)/.installed-test  ## the site, into build/site
	$(BIN)/python -m mkdocs build --strict

exactness: $(VENV)/.installed-test kernels  ## compare with ITK and ANTs, write docs/exactness.md
	$(BIN)/python -m benchmarks exactness

bench: $(VENV)/.installed-test kernels  ## all measurements beside the peers, write docs/performance.md too
	$(BIN)/python -m benchmarks

fuzz: $(VENV)/.installed-dev kernels  ## random inputs: make fuzz SEED=1 MINUTES=40
	$(BIN)/python -m reliability fuzz --seed $(SEED) --minutes $(MINUTES) --record

faults: $(VENV)/.installed-dev kernels  ## system calls that fail, kills, full disks
	$(BIN)/python -m reliability faults --seed $(SEED)

mutants: $(VENV)/.installed-dev kernels  ## faults in the code itself, which tests must find
	$(BIN)/python -m reliability mutants --seed $(SEED)

soak: $(VENV)/.installed-dev kernels  ## memory that runs out, and thousands of corrections in one process
	$(BIN)/python -m reliability soak

gpu: $(VENV)/.installed  ## time and check the XLA engine on the device that JAX finds
	$(BIN)/python benchmarks/gpu.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "n4ax needs Python 3.11 or later; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[figure,progress]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -e '.[figure,progress,test$(MORE_EXTRAS)]' $(MORE_PACKAGES)
	@touch $(VENV)/.installed $@

$(VENV)/.installed-dev: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) n4ax-demo
