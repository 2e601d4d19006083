# `make help` lists what there is. Everything installs what it needs into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := test$(shell command -v nvidia-smi >/dev/null 2>&1 && echo ,cuda)
VIDEOS ?=

.PHONY: help install demo test check test-slow docs browser clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.ready  ## make .venv and install lipjax with its extras

$(VENV)/.ready: setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "lipjax needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	@touch $@

demo: install  ## corpus, training, evaluation, a talking mouth; VIDEOS=folder for your own videos
	$(BIN)/python -m lipjax.walkthrough --workdir runs/demo $(if $(VIDEOS),--videos '$(VIDEOS)')

test: install  ## linter, types and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -q -n logical --maxprocesses 8 --dist loadfile

check: install docs browser  ## what is around the library: notebooks, wheel, version bounds, the page in a browser
	$(BIN)/python -m pytest -q -m check --timeout=3000

browser:  ## install Chromium and its driver, in which check tries the page (Debian, root)
	@scripts/install_browser.sh

test-slow: install  ## the tests that take minutes
	$(BIN)/python -m pytest -q -m slow --timeout=3000

docs: install  ## build the documentation into site/; warnings are errors
	$(BIN)/python docs/make_pages.py --check
	$(BIN)/python -m mkdocs build --strict --quiet

clean:  ## remove .venv and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
