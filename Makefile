# Every target works on a fresh machine with Python 3.11 or later, its venv module, and make.
# `make PYTHON=/path/to/python` chooses the interpreter that .venv is made with.

SHELL := /bin/bash
.DELETE_ON_ERROR:

# Folders on a user's PYTHONPATH must not get between .venv and its packages.
unexport PYTHONPATH PYTHONHOME

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	"$$p" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)

BIN := .venv/bin
INSTALLED := .venv/.installed
DEV_INSTALLED := .venv/.installed-dev
TYPED := .dev/photon_triage/core .dev/photon_triage/models .dev/photon_triage/tui tests

.PHONY: all demo test soak lint clean

all: $(INSTALLED)
	@echo "Installed in .venv. Next: make demo, or $(BIN)/photon-triage --help"

demo: $(INSTALLED)
	$(BIN)/photon-triage demo

# Two processes with one thread each: torch's own threads would only get in each other's way.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -P -m pytest -n 2 $(PYTEST_ARGUMENTS)

# The long forms of tests/faults, hours of them; `make soak PYTEST_ARGUMENTS="-k kills"` for one. Prints what they measure.
soak: $(INSTALLED)
	PHOTON_TRIAGE_SOAK=100 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -P -m pytest tests/faults $(PYTEST_ARGUMENTS)

lint: $(DEV_INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(TYPED)
	$(BIN)/lint-imports

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find core models tui tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.made:
	@[ -n "$(PYTHON)" ] || { echo "No Python of 3.11 or later with venv was found; name one: make PYTHON=/path/to/python" >&2; exit 1; }
	"$(PYTHON)" -m venv .venv
	@touch $@

$(INSTALLED): .venv/.made pyproject.toml constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e ".[test]"
	@touch $@

$(DEV_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e ".[test,dev]"
	@touch $@
