# Everything starts from a bare clone with Python 3.11+ and make; the first target called sets up .venv.
# `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
PROFILE ?= laptop
PORT ?= 8000
BIN := .venv/bin
STAMP := .venv/installed
XDIST := -n logical --maxprocesses 4
.DEFAULT_GOAL := book
# One thread for each of the processes that run side by side; and no hub at run time.
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help book smoke-book test test-fast lint format sync wheel tune study record reliability \
	rebuild-world bench bench-others serve clean

help:  ## this list
	@awk -F ' *:[^#]*## *' '/^[a-z-]+:.*##/ {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: $(STAMP)  ## run the notebooks (PROFILE=laptop) and build the book into _build/html
	$(BIN)/python -m transrec_core.book execute --profile $(PROFILE)
	$(BIN)/jupyter-book build . -W --keep-going 2>&1 | tee _build.log
	@$(BIN)/python -m transrec_core.book report

smoke-book:  ## the same with the smallest runs
	$(MAKE) book PROFILE=smoke

test: $(STAMP)  ## the tests, on all cores but four at most
	$(BIN)/python -m pytest $(XDIST)

test-fast: $(STAMP)  ## the tests that take no more than a few seconds each
	$(BIN)/python -m pytest -m "not slow" $(XDIST)

lint: $(STAMP)  ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports > /dev/null || $(BIN)/lint-imports

format: $(STAMP)  ## mend style and format, as far as ruff can
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

sync: $(STAMP)  ## write the .ipynb of each pair from its .py
	$(BIN)/python -m transrec_core.book sync

# setuptools packs whatever an earlier build left in build/, moved and deleted modules, too: it starts empty.
wheel: $(STAMP)  ## a wheel of the library in dist/, and its size
	rm -rf build dist
	$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps -w dist .
	rm -rf build
	@for wheel in dist/*.whl; do echo "$$wheel: $$(($$(wc -c < $$wheel) / 1024)) KiB"; done

tune: $(STAMP)  ## choose the step sizes again (about half an hour on 2 cores)
	$(BIN)/transrec tune

# What ships is not run again. Packed files in runs/ are copies only, so newer ones replace them; runs that
# were made here are folders, and stay.
carry = mkdir -p runs/$(1) && \
	if [ -d results/$(1) ]; then find results/$(1) -maxdepth 1 -type f -exec cp {} runs/$(1)/ \; ; fi

study: $(STAMP)  ## the missing runs on the embedded world (all: an hour and a half), into results/study
	$(call carry,study)
	for question in rq1 rq2 rq3 rq4; do $(BIN)/transrec study $$question --profile study --store runs/study; done
	$(BIN)/transrec pack results/study --store runs/study

reliability: $(STAMP)  ## kill a study many times, simulate the statistics (a quarter of an hour)
	$(BIN)/python -m benchmarks.survival --out results/benchmarks/survival.json
	$(BIN)/python benchmarks/calibration.py --out results/benchmarks/calibration.json

# The questions of profiles/real.yaml in the order of worth; what comes first is complete, and packed, before
# the next begins. DATA holds the folders amazon_games, amazon_instruments, ml1m, hm.
REAL ?= rq1-instruments rq1-films rq1-films-titles rq2 rq4-target rq3 rq4-source rq1-photos rq1-small
record: $(STAMP)  ## the study on real data (hours, resumable), into results/real; DATA=folder of data sets
	$(BIN)/python -m pip install -q -e '.[real]' -c constraints.txt
	$(call carry,real)
	for question in $(REAL); do \
	  $(BIN)/transrec tune --profile real --only $$question --store runs/real --data-root $(DATA) > /dev/null; \
	  $(BIN)/transrec study $$question --profile real --store runs/real --data-root $(DATA); \
	  $(BIN)/transrec pack runs/real.packed --profile real --store runs/real --data-root $(DATA); \
	  rm -rf results/real && mv runs/real.packed results/real; \
	done

rebuild-world: $(STAMP)  ## build the shipped checkpoints again and compare them bit for bit
	$(BIN)/python -m transrec_core.world.general --check
	$(BIN)/python -m transrec_core.study.sources --check

bench: $(STAMP)  ## what is saved, side by side (three minutes); DATA=folder of data sets, OUT=JSON file
	$(BIN)/python -m benchmarks.costs $(if $(DATA),--data-root $(DATA)) $(if $(OUT),--out $(OUT))

OTHERS := $(patsubst %,.venv-others/%/installed,adapters recbole)
bench-others: $(STAMP) $(OTHERS)  ## beside PEFT, AdapterHub and RecBole
	$(BIN)/python benchmarks/others.py --out results/benchmarks/others.json

# Everything is pinned, so nothing is resolved, except what this platform's torch brings along.
.venv-others/%/installed: benchmarks/others/%.txt
	$(PYTHON) -m venv --clear .venv-others/$*
	.venv-others/$*/bin/python -m pip install -q --disable-pip-version-check "$$(grep '^torch==' $<)"
	.venv-others/$*/bin/python -m pip install -q --disable-pip-version-check --no-deps -r $<
	touch $@

serve: $(STAMP)  ## look at the built book on localhost (PORT=8000)
	$(BIN)/python -m http.server -d _build/html $(PORT)

clean:  ## remove everything generated, .venv stays
	rm -rf _build _build.log book/executed runs build dist

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed")' \
	  || { echo 'make PYTHON=python3.11 ...'; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[book,test]' -c constraints.txt
	touch $@
