# make demo   an animated video from the shipped model, picture and motion
# make test   the test suite        make lint   ruff and mypy        make clean   what runs and tests wrote
# make quick  the short tests, in a minute
# Variables: PYTHON (interpreter), VENV (environment), TORCH_CPU_INDEX, WORKERS (parallel tests).

SHELL := /bin/bash
VENV ?= .venv
PYTHON ?=
TORCH_VERSION := $(shell sed -n 's/^torch==//p' constraints.txt)
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((n < 8 ? n : 8)))

export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PIP := $(VENV)/bin/python -m pip install -qq
STAMPS := $(VENV)/.stamps
DEMO_VIDEO ?= outputs/demo.mp4
# What the tests need beyond the package.
TEST_PACKAGES := -e .[dev,eval,fast,heic,identity,mcp,scale,serve,site,train,wholebody] onnx

.PHONY: demo test quick test-env lint clean distclean
.DELETE_ON_ERROR:

demo: $(STAMPS)/package
	$(VENV)/bin/magicanimate demo --out $(DEMO_VIDEO)
	@echo "To have the command magicanimate at hand: source $(CURDIR)/$(VENV)/bin/activate"

# One thread per process: the tests run in parallel, and their networks are tiny. Files in the order of tests/conftest.py.
test: test-env
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

quick: PYTEST_ARGS += -m "not slow and not long"
quick: test

test-env: $(STAMPS)/test

lint: test-env
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

$(STAMPS)/environment:
	@python=$$(bash scripts/find_python.sh $(PYTHON)) || exit 1; \
	$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || \
	    { echo "Making the environment $(VENV) with $$python"; "$$python" -m venv --clear $(VENV); }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/torch: $(STAMPS)/environment scripts/install_torch.sh
	@bash scripts/install_torch.sh $(VENV)/bin/python $(TORCH_VERSION) $(TORCH_CPU_INDEX)
	@touch $@

$(STAMPS)/package: $(STAMPS)/torch pyproject.toml constraints.txt
	@echo "Installing magicanimate into $(VENV): 84 packages, about 250 MB to fetch and 1.2 GB on disk, a minute or two"
	@$(PIP) -e .[serve]
	@touch $@

$(STAMPS)/test: $(STAMPS)/package
	@echo "Installing what the tests need into $(VENV): 87 packages, 2.2 GB on disk, about two minutes"
	@$(PIP) $(TEST_PACKAGES)
	@touch $@

clean:
	rm -rf outputs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean
	rm -rf $(VENV)
