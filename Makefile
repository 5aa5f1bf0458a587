# `make run` and `make test` set up everything they need; `make help` lists the rest.
#
# Variables: PYTHON makes the environment, VENV is where it lies, ARGS go to app.py, pytest, the
# training or the evaluation, WORKERS is the number of test processes (0: one, in the foreground).

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
WORKERS ?= 2

BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off

# Torch would start as many threads in each test process as there are cores.
TEST_ENV := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
ifneq ($(WORKERS),0)
# Whole files stay together, so that a model or an app started once per file is started once, and so
# do those that share an app; in their order, the longest first (tests/conftest.py).
PARALLEL := --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder
endif

APT_PACKAGES := chromium fonts-noto-cjk fontconfig nginx-light openssl

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install install-dev hooks run browser test format lint types check \
	audit smoke-312 screenshots train evaluate clean distclean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# ---------------------------------------------------------------------------- environment
# A stamp file stands for an installed requirements file: a second call does nothing, and a changed
# file installs again.

install: $(VENV)/.installed  ## make the virtual environment and install the requirements

install-dev: $(VENV)/.installed-dev  ## the same with the tools for tests, lint and types

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing the requirements: 6 GB on disk, a few minutes the first time."
	$(PIP_INSTALL) --upgrade -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@

# TypeScript, which only checks the types in the page's scripts; its Node.js is in the environment.
node_modules/.installed: package.json package-lock.json $(VENV)/.installed-dev
	PATH="$(abspath $(BIN)):$$PATH" npm ci --no-audit --no-fund
	@touch $@

hooks: install-dev  ## run format, lint and types before every commit
	$(BIN)/pre-commit install

# ------------------------------------------------------------------------------------ app

run: install  ## start the playground at http://127.0.0.1:7860 (ARGS="--model ... --port ...")
	$(BIN)/python app.py $(ARGS)

screenshots: install-dev browser  ## draw the README's screenshots again
	$(BIN)/python -m scripts.screenshots $(ARGS)

# ---------------------------------------------------------------------------------- tests

# On a developer's machine nothing is installed behind their back; a CI machine gets the browser,
# fonts for the Chinese half of the page, and the proxy that the page is tried behind, because no
# test may be skipped there for want of them.
browser:
	@have_browser() { [ -x "$$CHROMIUM" ] || command -v chromium || command -v chromium-browser \
			|| command -v google-chrome; }; \
	have_fonts() { [ -n "$$(fc-list :lang=zh family)" ]; }; \
	have_proxy() { PATH="$$PATH:/usr/sbin" command -v nginx && command -v openssl; }; \
	if [ -z "$$CI" ]; then \
		have_browser >/dev/null 2>&1 || echo "No Chromium: browser tests will be skipped." \
			"To install it: sudo apt-get install $(APT_PACKAGES)"; \
		have_proxy >/dev/null 2>&1 || echo "No nginx or no openssl: the test behind a proxy will be" \
			"skipped. To install them: sudo apt-get install $(APT_PACKAGES)"; \
	elif ! { have_browser && have_fonts && have_proxy; } >/dev/null 2>&1; then \
		if [ "$$(id -u)" -eq 0 ]; then sudo=; else sudo=sudo; fi; \
		$$sudo apt-get -o Acquire::Retries=3 update -qq && \
		$$sudo env DEBIAN_FRONTEND=noninteractive \
			apt-get -o Acquire::Retries=3 install -y -qq --no-install-recommends $(APT_PACKAGES) && \
		have_browser; \
	fi

test: install-dev browser  ## run every test, the browser ones included (ARGS="-k merge")
	@$(TEST_ENV) $(BIN)/python -m pytest $(PARALLEL) $(ARGS)

format: install-dev  ## format the code and mend what lint can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lint: install-dev  ## check format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/oxlint --deny-warnings components

# Gradio writes a stub beside every component of ours at each start, and mypy would read that instead.
types: install-dev node_modules/.installed  ## check types, of the page's scripts too
	@find components -name "*.pyi" -delete
	$(BIN)/mypy
	$(BIN)/node node_modules/typescript/bin/tsc --project tsconfig.json

audit: install-dev  ## look up known vulnerabilities of what the app runs on
	@$(BIN)/python scripts/audit.py

check: lint types test audit  ## everything that must pass before a commit is pushed

# A hosted Space has Python 3.12 and, with ZeroGPU, torch 2.11 at most.
PYTHON_312 ?= $(shell for python in python3.12 "$$HOME"/.pyenv/versions/3.12.*/bin/python3.12; do \
	"$$python" -m ensurepip --version >/dev/null 2>&1 && { echo "$$python"; break; }; done)
SMOKE_VENV = $(VENV)/python3.12
SMOKE_PINS := torch==2.11.0 torchvision==0.26.0

smoke-312:  ## a few tests on Python 3.12 and the oldest torch, if there is a Python 3.12
	@if [ -z "$(PYTHON_312)" ]; then echo "No Python 3.12 here: the smoke test did not run on it."; \
	else $(MAKE) --no-print-directory $(SMOKE_VENV)/.installed && \
		$(TEST_ENV) $(SMOKE_VENV)/bin/python -m pytest -q -m smoke tests/test_smoke.py; fi

$(SMOKE_VENV)/.installed: requirements.txt requirements-dev.txt
	$(PYTHON_312) -m venv $(SMOKE_VENV)
	$(SMOKE_VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar off --no-compile -q \
		-r requirements.txt $(SMOKE_PINS) $$(grep '^pytest' requirements-dev.txt)
	@touch $@

# ------------------------------------------------------------------- shipped checkpoint

train: install  ## train the shipped checkpoint again
	$(BIN)/python -m training.train $(ARGS)

evaluate: install  ## measure the shipped checkpoint on held-out scenes
	$(BIN)/python -m training.evaluate $(ARGS)

# ------------------------------------------------------------------------------- cleaning

clean:  ## remove caches
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis test-results
	find . -path './$(VENV)' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## remove the virtual environment and node_modules too
	rm -rf $(VENV) node_modules
