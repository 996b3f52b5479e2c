# make study: install, run one farm, build its book.  make test: install, check everything.
SITE ?= skane
LIBRARY ?= farms
PROFILE ?= quick
# The first Python of a version that soilnb knows; name another with PYTHON=...
KNOWN = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	if $$p -c '$(KNOWN)' 2>/dev/null; then echo $$p; exit; fi; done; echo python3)
BIN = .venv/bin

.PHONY: study install run book book-pdf student reference benchmark test format clean

study: run book

install: .venv/installed

.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c '$(KNOWN)' || { echo "soilnb needs Python 3.11 to 3.13, and" \
	"'$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Installing into .venv (some minutes, 3.5 GB) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--no-deps --no-build-isolation --editable .
	@touch $@

run: install
	@$(BIN)/soilnb run all --site $(SITE) --library $(LIBRARY) --profile $(PROFILE)

book: install
	@$(BIN)/soilnb book --site $(SITE) --library $(LIBRARY)

# The same on paper, _build/book.pdf; needs Chromium.
book-pdf: install
	@$(BIN)/soilnb book --site $(SITE) --library $(LIBRARY) --pdf

# Without solutions, in _build/student.
student: install
	@$(BIN)/soilnb book --site $(SITE) --library $(LIBRARY) --student

# All real farms, and the tables of data/reference_results made of them: four hours.
SITES ?= skane uppsala vaud santa-catarina sao-paulo saxony-anhalt rhineland
SEEDS ?= 5
reference: install
	@$(BIN)/soilnb run all $(SITES:%=--site %) --library $(LIBRARY) --profile $(PROFILE) -p n_seeds=$(SEEDS) -p n_draws=10
	@$(BIN)/soilnb run 16_results -p collect=true

# The table of speed in the book: three minutes on a quiet machine.
benchmark: install
	@$(BIN)/python benchmarks/bench_all.py

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv _build results
