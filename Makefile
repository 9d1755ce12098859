# `make demo` and `make test` need nothing but Python 3.11-3.13 and the package registries.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: demo test check format lint types bench soak interop clients simulators serve clean

demo: $(READY)  ## play the two-phase story on the paper exchange
	$(BIN)/exec-mcp demo

test: $(READY)  ## the whole suite, under four minutes
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

check: lint types test  ## everything a change must pass

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)  ## the benchmark table: ratios within one run
	$(BIN)/python -m tests.bench

soak: $(READY)  ## the long campaigns: one table, within three hours on two cores
	$(BIN)/python -m tests.soak $(CAMPAIGNS)

INTEROP_TOOLS ?= $(VENV)/interop

interop: $(READY)  ## other people's MCP clients and the conformance suite; needs npm
	mkdir -p $(INTEROP_TOOLS)
	cp tests/interop/package.json $(INTEROP_TOOLS)/
	npm install --prefix $(INTEROP_TOOLS) --no-audit --no-fund --no-package-lock --ignore-scripts --loglevel=error
	EXEC_INTEROP_TOOLS=$(INTEROP_TOOLS) $(BIN)/python -m pytest -q tests/interop

clients: $(READY)  ## other people's exchange clients trade on the simulated exchanges
	$(PYTHON) -m venv $(VENV)/clients
	$(VENV)/clients/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r tests/clients/requirements.lock
	EXEC_CLIENTS_PYTHON=$(VENV)/clients/bin/python $(BIN)/python -m pytest -q tests/clients

simulators: $(READY)  ## Binance and Bitstamp on this machine, to trade on without a key
	$(BIN)/python -m tests.simulators

serve: $(READY)  ## HTTP API and MCP at http://127.0.0.1:8787
	$(BIN)/exec-mcp serve

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "exec-mcp needs Python 3.11 to 3.13; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(READY)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
