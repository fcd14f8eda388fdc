# `make demo` and `make test` need Python 3.11 or later with pip, and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
GENERATED := $(wildcard docs/reference/*.md docs/operate/performance*.md) docs/operate/scale.md
# 30 GB of disk.
HISTORIES ?= $(foreach millions,1 5 20,--events $(millions)000000 --folder build/history-$(millions)m)

.DEFAULT_GOAL := help
.PHONY: help demo test adoption spark lint docs screenshots bench soak clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 13

demo: $(VENV)/demo.stamp ## Everything at once, on a Postgres of its own (ONCE=1: end by itself)
	$(BIN)/pgtrail demo $(if $(ONCE),--once) $(ARGS)

test: $(VENV)/dev.stamp $(VENV)/programs.stamp ## Run the tests on every Postgres that is found
	$(BIN)/pytest --numprocesses 4 $(ARGS)

adoption: $(VENV)/dev.stamp ## Adopt pgtrail on Label Studio and pretix as PyPI has them (2 GB of disk, half an hour)
	$(BIN)/python -m tests.adoption $(ARGS)

spark: $(BIN)/python ## Read an archive with Spark and compare it with the live views (Java 17 or later, 1 GB of disk)
	@$(BIN)/python tests/spark/java.py
	@$(MAKE) --no-print-directory $(VENV)/spark.stamp
	$(BIN)/python -m tests.spark $(ARGS)

lint: $(VENV)/dev.stamp ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cog --check -I docs -I bench $(GENERATED)

docs: $(VENV)/dev.stamp ## Write what is generated in the documents anew
	$(BIN)/python docs/integrity.py
	$(BIN)/cog -r -I docs -I bench $(GENERATED)

screenshots: $(VENV)/dev.stamp $(VENV)/programs.stamp ## Take the pictures of the documents anew
	$(BIN)/python docs/screenshots.py

bench: $(VENV)/bench.stamp ## Measure what pgtrail costs, beside others, and draw docs/operate/performance.md anew (hours)
	$(BIN)/python bench/writes.py --servers 3
	$(BIN)/python bench/ignored_updates.py
	$(BIN)/python bench/adoption.py
	$(BIN)/python bench/presets.py
	$(BIN)/python bench/forwarding.py
	$(BIN)/python bench/latency.py
	$(BIN)/python bench/notify.py
	$(BIN)/python bench/backlog.py
	$(BIN)/python bench/seals.py
	$(BIN)/python bench/reads.py $(HISTORIES)
	$(BIN)/python bench/growth.py $(HISTORIES)
	$(BIN)/python bench/exports.py --folder build/history-1m
	$(BIN)/python bench/archive.py --events 10500000 --folder build/history-10m
	$(BIN)/python bench/page.py
	$(BIN)/python bench/hub.py
	$(BIN)/python bench/report.py
	$(MAKE) docs

soak: $(VENV)/dev.stamp ## Run the tests that take minutes
	$(BIN)/pytest -m soak -rP --numprocesses auto --maxprocesses 4 $(ARGS)

clean: ## Remove what was installed and built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "pgtrail needs Python 3.11 or later: make PYTHON=/path/to/python3.11 …" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "no venv could be made: install your system's python3-venv package" >&2; exit 2; }

$(VENV)/programs.stamp: tests/install.sh $(VENV)/dev.stamp
	@if sh tests/install.sh $(VENV); then touch $@; fi

$(VENV)/%.stamp: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@
