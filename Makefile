# `make repro` and `make test` need Python 3.11 to 3.13, git and make, and nothing else.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)
VENV := .venv
# Stages are started by DVC through a shell: `python` must be the environment's there too.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# Named by the contents of all files and by what else decides which tests run.
TESTED := $(VENV)/.tested-$(shell { git ls-files -z -co --exclude-standard | xargs -0 sha256sum; \
	echo "$(MONUSEG_ARCHIVES) $(MONUSEG_SLIDES)"; } 2>/dev/null | sha256sum | cut -c1-16)

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.PHONY: help repro test retest test-long lint docs mutants bench train-parallel monuseg monuseg-cpu fuzz seeds check-reference clean environment environment-dev environment-gpu environment-gpu-jax environment-bench environment-fuzz environment-docs environment-mutants

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20
	@$(PYTHON) -m tools

repro: environment  ## run the whole graph as params.yaml says
	python -m tools.check
	dvc repro

test: environment-dev $(TESTED)  ## lint, types, unit tests, the whole graph at tiny parameters
	@echo "these files have passed; to test them all the same: make retest"

retest:  ## test even if nothing has changed
	rm -f $(VENV)/.tested-*
	$(MAKE) --no-print-directory test

$(TESTED): | environment-dev
	$(MAKE) --no-print-directory lint
	python -m pytest -q --numprocesses 2 --dist loadfile
	@rm -f $(VENV)/.tested-*
	@touch $@

test-long: environment-dev  ## what takes too long for `make test`: interruptions at random moments of all stages, and what only repeats
	python -m pytest -q -s -m long

lint: environment-dev
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	zizmor --offline --quiet .github .pre-commit-config.yaml
	hadolint Dockerfile Dockerfile.gpu

docs: environment-docs  ## the documentation as a site, in .site/
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict --site-dir .site

mutants: environment-mutants  ## which changed lines of scoring, nuclei and inference the tests notice
	python -m tests.mutants.run

train-parallel: environment  ## train all models at the same time, one a GPU where there are several
	python -m tools.side_by_side

monuseg: environment-gpu  ## the real run: MoNuSeg from Google Drive, full-size models, on a GPU
	python -m tools.preset monuseg $(SET)
	$(MAKE) --no-print-directory repro

monuseg-cpu: environment  ## MoNuSeg at a size for two CPU cores (SET="key=value ..." to change more)
	python -m tools.preset monuseg-cpu $(SET)
	$(MAKE) --no-print-directory repro

seeds: environment  ## scores of every model over three seeds, with their spread: seeds.json
	python -m tools.repeat train.seed 1 2 3 --output seeds.json

check-reference: environment  ## compare metrics/ with those of a git revision (REFERENCE=HEAD)
	@python -m tools.check_reference $(REFERENCE)

bench: environment-bench  ## time the parts that images pass one by one, and the networks against PyTorch's
	python -m pytest -q -o python_files='bench_*.py' tests/benchmarks
	python -m tests.benchmarks.ratios

FUZZ_SECONDS ?= 600
fuzz: environment-fuzz  ## look for bytes that break the readers of XML, archives, params (FUZZ_SECONDS=600 each)
	for reader in annotations archives params; do python -m tests.fuzz.fuzz_$$reader \
		.scratch/fuzz/$$reader --seconds $(FUZZ_SECONDS) || exit 1; done
	@! find .scratch/fuzz -path '*/findings/*' | grep .

# An environment is remade when what it is made from changes; else these take no time.
environment: $(VENV)/.requirements
environment-dev: $(VENV)/.requirements-dev
environment-gpu: $(VENV)/.requirements-gpu
environment-gpu-jax: $(VENV)/.requirements-gpu-jax
environment-bench: $(VENV)/.requirements-bench
environment-fuzz: $(VENV)/.requirements-fuzz
environment-docs: $(VENV)/.requirements-docs
environment-mutants: $(VENV)/.requirements-mutants

STAMPS := $(addprefix $(VENV)/.,requirements requirements-dev requirements-gpu requirements-gpu-jax \
	requirements-bench requirements-fuzz requirements-docs requirements-mutants)
$(STAMPS): $(VENV)/.%: %.txt requirements.txt requirements-compute.txt constraints.txt pyproject.toml | $(VENV)/bin/python
	python -m pip install --quiet --disable-pip-version-check -r $*.txt
	@# The clone itself: its packages are found from any folder, its pins stand in the line above.
	python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 on PATH; install one, or make PYTHON=/path/to/it" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:  ## remove the virtual environment and caches of tools; data and DVC's cache stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .site
