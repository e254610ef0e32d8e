# Everything a fresh machine needs: make demo, make test. Needs Python 3.11 or newer and, on Debian, apt.
PYTHON  ?= python3
BIN     := .venv/bin
SCHEDD  ?=
POOL    ?=
WORKERS ?= 2
REPORT  ?=
QUICK   ?=
ONLY    ?=
SOURCES := htcmagic tests benchmarks notebooks docs

.PHONY: help setup demo lab test test-slow test-all lint bench clean

help:
	@echo "make demo      set everything up and run the grid scan on a personal pool (SCHEDD=... for a site's)"
	@echo "make lab       the same environment with JupyterLab open on notebooks/"
	@echo "make test      set everything up and run all tests (test-all: the heavy ones too)"
	@echo "make bench     timings, side by side with the peers (REPORT=FILE: as a page, too; QUICK=1: smaller; ONLY=1,5: some)"
	@echo "make setup     the set-up alone: ./.venv and HTCondor's programs"
	@echo "make clean     delete ./.venv and what was built"

.venv/.done: pyproject.toml constraints.txt
	.ci/need python3-venv -- $(PYTHON) -c 'import venv, ensurepip'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

setup: .venv/.done
	$(BIN)/htc-pool install

demo: setup
	$(BIN)/python notebooks/demo.py --schedd '$(SCHEDD)' --pool '$(POOL)'

lab: setup
	$(BIN)/jupyter lab --notebook-dir=notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

lint: .venv/.done
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/shellcheck notebooks/gridscan/fit.sh .ci/run .ci/need

test: setup lint
	.ci/need chromium -- sh -c 'command -v chromium'
	$(BIN)/python -m pytest -m 'not slow' -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-slow: setup
	.ci/need chromium -- sh -c 'command -v chromium'
	.ci/need iproute2 -- sh -c 'command -v ip'
	$(BIN)/python -m pytest -m slow -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-all: test test-slow

bench: setup
	$(BIN)/python benchmarks/run.py $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(if $(REPORT),--report $(REPORT) --choosing docs/which-engine.md)

clean:
	rm -rf .venv build dist
