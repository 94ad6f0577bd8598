# Every target builds what it needs: on a fresh machine with Python and make, `make demo` and `make test` are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
BENCH_STAMP := $(VENV)/.installed-bench
FUZZ_STAMP := $(VENV)/.installed-fuzz

.PHONY: compiled test-compiled help demo test check docs bench bench-quick fuzz guards simulate soak mutants matrix lint types layers format wheel test-wheel clean
.DELETE_ON_ERROR:
# What Python compiles is kept. Otherwise each of the many programs that tests start does it again.
unexport PYTHONDONTWRITEBYTECODE

help:
	@echo "make demo   send a few thousand messages through the pool to a bad-tempered local server, and prove the outcome"
	@echo "make test   all tests"
	@echo "make check  lint, types, layers"
	@echo "make bench-quick   the main ratios against other clients, in about two minutes; make bench has all of them"
	@echo "make fuzz   look for inputs that break a promise, a minute for each target"
	@echo "make guards take away each guard against hostile input, and see that its test fails"
	@echo "make simulate   play a thousand scenarios made of seeds against the pool, and judge each; ARGS=\"--seeds 10000\""
	@echo "make mutants    break the pool in one way after the other, and see that the simulation notices each"
	@echo "make matrix     start each real mail server, play all scenarios with it, and print the table"
	@echo "make soak   mixed traffic with faults for five minutes: flat lines are expected; ARGS=\"--minutes 30\""
	@echo "make docs   build the documentation; warnings are errors"
	@echo "make test-wheel   build the wheel, install it into an empty environment, and test that"
	@echo "make compiled   a wheel whose hot path is compiled by mypyc, into dist-compiled/; make test-compiled tests it"

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[demo]" --group dev
	@touch $@

$(DOCS_STAMP): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group docs
	@touch $@

docs: $(DOCS_STAMP)
	@$(BIN)/python -m sphinx -W --keep-going -n -E -q -b html docs build/docs
	@echo "build/docs/index.html"

$(BENCH_STAMP): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	@touch $@

bench-quick: $(BENCH_STAMP)
	@$(BIN)/python -m benchmarks --quick $(ARGS)

bench: $(BENCH_STAMP)
	@$(BIN)/python -m benchmarks $(ARGS)

$(FUZZ_STAMP): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group fuzz
	@touch $@

fuzz: $(FUZZ_STAMP)
	@$(BIN)/python tests/fuzz $(ARGS)

guards: $(STAMP)
	@$(BIN)/python tests/security/guards $(ARGS)

simulate: $(STAMP)
	@$(BIN)/python tests/simulate $(ARGS)

mutants: $(STAMP)
	@$(BIN)/python tests/simulate/mutants.py $(ARGS)

matrix: $(STAMP)
	@$(BIN)/python tests/interop/matrix.py $(ARGS)

soak: $(BENCH_STAMP)
	@$(BIN)/python tests/soak $(ARGS)

demo: $(STAMP)
	@$(BIN)/mailpool demo $(ARGS)

# So many processes share the tests: half of them wait for something. WORKERS=0 runs all in one, in order.
WORKERS ?= 3
SHARED   = -n $(WORKERS) --dist worksteal

test: $(STAMP)
	$(BIN)/python -m pytest $(SHARED) $(ARGS)

# The hot path as a C extension, for this Python and machine. It is built from the source distribution, so that no
# extension file is left in the tree, where it would hide the source beside it.
COMPILED ?= dist-compiled
compiled: $(STAMP)
	rm -rf $(COMPILED)
	HATCH_BUILD_HOOK_ENABLE_MYPYC=true $(BIN)/python -m build --outdir $(COMPILED) >/dev/null
	@ls $(COMPILED)/*.whl

# What is compiled answers to the same tests. (.venv holds what tests need; PYTHONPATH comes before what it installs.)
test-compiled: compiled
	rm -rf $(COMPILED)/unpacked && $(BIN)/python -m zipfile -e $$(echo $(COMPILED)/*.whl) $(COMPILED)/unpacked
	PYTHONPATH=$(CURDIR)/$(COMPILED)/unpacked $(BIN)/python -m pytest tests/unit tests/property tests/security tests/simulation $(ARGS)

# The source tree can hide a file that the wheel lacks. So the files of both are compared, and the wheel is used as its
# users will: with nothing but what it asks for, where the source tree cannot be imported.
test-wheel: wheel
	rm -rf .venv-wheel build/wheel
	$(BIN)/python -m zipfile -e $$(echo dist/*.whl) build/wheel
	diff -r --exclude=__pycache__ src/mailpool build/wheel/mailpool
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	.venv-wheel/bin/python -m pip install --quiet --disable-pip-version-check "$$(echo dist/*.whl)[demo]" --group pytest
	.venv-wheel/bin/python -m pytest $(SHARED) $(USED)
	.venv-wheel/bin/mailpool demo --messages 500

USED = tests/contract/test_cli_commands.py tests/contract/test_cli_examples.py tests/contract/test_demo.py \
	tests/contract/test_signals.py tests/contract/test_uvloop.py tests/contract/test_rules_sockets.py \
	tests/simulation/test_round_trips.py tests/unit/test_message_sealing.py

wheel: $(STAMP)
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist >/dev/null

check: lint types layers

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-wheel dist $(COMPILED) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
