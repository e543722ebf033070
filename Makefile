# Seiche. Needs Python 3.11+ and make; everything else is installed into .venv by the targets themselves.
#
#   make demo   the demonstration        make test   the tests        make help   all targets

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

VENV := .venv
PY   := $(VENV)/bin/python
PIP  := PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip install -qq -c constraints.txt
# The CPU is the reference; say JAX_PLATFORMS=cuda to let JAX use an accelerator.
export JAX_PLATFORMS ?= cpu

# Which extras a set installs: .venv/.with-SET is its stamp.
EXTRAS_demo   := demo
EXTRAS_boards := demo,deploy
EXTRAS_digits := digits
EXTRAS_dev    := demo,digits,dev,deploy,rl,worlds,traces
EXTRAS_bench  := demo,digits,peers,deploy
EXTRAS_docs   := demo,digits,docs
EXTRAS_zig    := zig

# Without a C compiler on PATH, one is installed as a wheel.
CC_FOUND := $(firstword $(foreach c,cc gcc clang,$(shell command -v $(c) 2>/dev/null)))
COMPILER := $(if $(CC_FOUND),,$(VENV)/.with-zig)
# With an emulator of Cortex-M on PATH, what builds for it is installed too.
BOARDS := $(if $(shell command -v qemu-system-arm 2>/dev/null),boards,demo)

# Options of the targets.
WORKERS  ?= 2
COVER    ?=
PYTEST   ?=
DEMO     ?=
PROGRAMS ?= 2000
EMULATED ?= 200
COVERAGE := $(if $(COVER),--cov --cov-report=term --cov-fail-under=$(COVER))

.PHONY: help demo digits test campaign lint format bench bench-driving docs clean

help:  ## show this list
	@echo "Seiche: targets of make"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-21s %s\n", $$1, $$2}'
	@echo "Options: DEMO='--seeds 1'  WORKERS=2  COVER=90  PYTEST='-k name'  PROGRAMS=2000  EMULATED=200  PYTHON=python3.12"

demo: $(VENV)/.with-$(BOARDS) $(COMPILER)  ## cars learn to drive, with and without memory and shield; writes a replay
	@echo "==> demo: cars that learn to drive, side by side, and the same bits on microcontrollers (a minute or two)"
	@$(PY) -m examples.driving $(DEMO)
	@command -v qemu-system-arm >/dev/null || \
	  echo "==> LEFT OUT: microcontrollers, as qemu-system-arm is not installed (apt-get install qemu-system-arm)"
	@echo "==> done. Open build/driving/index.html in a browser."

digits: $(VENV)/.with-digits $(COMPILER)  ## learn handwritten digits online, interpreted and as C; writes a page
	@echo "==> digits: an online learner on handwritten digits, interpreted and compiled (half a minute)"
	@$(PY) -m examples.digits
	@echo "==> done. Open build/digits/index.html in a browser."

test: $(VENV)/.with-dev $(COMPILER)  ## the tests and the docstrings' examples; COVER=90 measures coverage
	@echo "==> test: laws, differential tests, good and bad programs, docstrings, on $(WORKERS) workers"
	@$(PY) -m pytest -n $(WORKERS) $(COVERAGE) $(PYTEST)
	@for q in qemu-system-arm qemu-system-riscv32; do command -v $$q >/dev/null || \
	  echo "==> NOT TESTED on its processors: $$q is not installed (apt-get install qemu-system-arm qemu-system-misc)"; done
	@echo "==> passed. The laws are in tests/, one file each; 'make campaign' runs $(PROGRAMS) random programs."

campaign: $(VENV)/.with-dev $(COMPILER)  ## random programs on every target, compared in bits; PROGRAMS=2000
	@echo "==> campaign: the tests that take long"
	@$(PY) -m pytest -n $(WORKERS) -m long tests
	@echo "==> $(PROGRAMS) random programs, interpreter against C, in bits"
	@$(PY) -m tests.campaign --programs $(PROGRAMS)
	@echo "==> and $(EMULATED) of them on emulated Cortex-M and RISC-V"
	@$(PY) -m tests.campaign_targets --programs $(EMULATED)
	@echo "==> done. A disagreement would have been printed, shrunk, with its seed."

lint: $(VENV)/.with-dev  ## ruff (rules and format) and pyright (strict)
	@echo "==> lint: ruff check, ruff format --check, pyright"
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(PY) -m pyright
	@echo "==> clean."

format: $(VENV)/.with-dev  ## let ruff rewrite the sources
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

bench: $(VENV)/.with-bench $(COMPILER)  ## speed, bytes and accuracy beside peers in the same run
	@echo "==> bench: our figures and the peers', measured in one run"
	@$(PY) -m bench
	@echo "==> done. The tables are kept as JSON in build/bench/."

bench-driving: $(VENV)/.with-dev $(COMPILER)  ## the driving example's figures: drivers, seeds, decisions/s, bytes, processors
	@echo "==> bench-driving: eight drivers, five seeds, beside what learns nothing (about five minutes)"
	@$(PY) -m bench driving
	@echo "==> done. The tables are kept as JSON in build/bench/."

docs: $(VENV)/.with-docs $(COMPILER)  ## the documentation as a site
	@echo "==> docs: writing the reference, building the site"
	@$(PY) -m docs.generate
	@NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(PY) -m mkdocs build --quiet --strict
	@echo "==> done. Open build/site/index.html in a browser."

clean:  ## remove the environment and everything built
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*
	find src tests examples bench -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------ set-up

$(VENV)/.with-%: pyproject.toml constraints.txt | $(PY)
	@echo "==> installing [$(EXTRAS_$*)] into $(VENV) (the first time takes a minute or two)"
	@$(PIP) hatchling editables
	@$(PIP) --no-build-isolation -e '.[$(EXTRAS_$*)]'
	@touch $@

# The first Python that is new enough; its venv module must be able to install pip.
$(PY):
	@found=; \
	for p in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$p; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Seiche needs Python 3.11 or newer; found: $$(python3 --version 2>/dev/null || echo none)." >&2; \
	  echo "Install one and try again, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; \
	fi; \
	if ! "$$found" -c 'import venv, ensurepip' >/dev/null 2>&1; then \
	  echo "$$found has no venv or ensurepip module, which Seiche needs to make $(VENV)." >&2; \
	  echo "On Debian or Ubuntu it is the package python3-venv." >&2; exit 1; \
	fi; \
	echo "==> making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv --clear $(VENV)
