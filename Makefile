# make reproduce and make test need nothing before them: each makes the environment if it is not there.
SHELL := /bin/bash
.DEFAULT_GOAL := help

DATASET ?= phantom
DATA ?=
PROFILE ?= laptop
RUNS ?= $(CURDIR)/runs
DEVICE ?=
JOBS ?=
FORGET ?=
METHOD ?= salun
VERIFY ?=
CLUSTER ?=
PYTHON ?= python3
VENV ?= .venv

VARIABLES := DATASET DATA PROFILE RUNS DEVICE JOBS FORGET METHOD VERIFY CLUSTER PYTHON VENV
COMMANDS := reproduce check status tune retime report forget clean
TARGETS := help setup test test-slow lab bench $(COMMANDS)

SPACE := $(subst ,, )
GIVEN := $(foreach word,$(subst \$(SPACE),_,$(MAKEOVERRIDES)),$(firstword $(subst =, ,$(word))))
UNKNOWN := $(filter-out $(VARIABLES),$(GIVEN))
ifneq ($(UNKNOWN),)
NEAR := $(shell $(PYTHON) -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1], sys.argv[2:], 1))' $(UNKNOWN) $(VARIABLES) 2>&1)
$(error unknown variable $(UNKNOWN)$(if $(NEAR),; did you mean $(NEAR)?); choose from $(VARIABLES))
endif

# Notebooks run elsewhere: a relative folder is meant from here.
override RUNS := $(if $(filter /% ~%,$(RUNS)),$(RUNS),$(CURDIR)/$(or $(RUNS),runs))
override DATA := $(if $(DATA),$(if $(filter /% ~%,$(DATA)),$(DATA),$(CURDIR)/$(DATA)))

# The package is found in this folder, whichever interpreter runs it.
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
export DATASET DATA PROFILE RUNS DEVICE JOBS FORGET METHOD VERIFY CLUSTER

ifeq ($(VENV),)
RUN := $(PYTHON)
READY :=
else
RUN := $(VENV)/bin/python
READY := $(VENV)/ready
endif

# Tests of one file stay together: they share what is dear to make.
BESIDE := --numprocesses=$(or $(JOBS),auto) --dist=loadfile

# Notebooks that 04_synthesis does not execute itself, as it does 01, 02, 03 and 08 to make its models.
OPENED := $(filter-out notebooks/01% notebooks/02% notebooks/03% notebooks/08%,$(wildcard notebooks/*.ipynb))

.PHONY: $(TARGETS)

help: ## this list
	@echo "  make reproduce PROFILE=quick    the study in small, in minutes: shows that it works"
	@echo "  make reproduce                  the study (profile laptop): 30 to 50 minutes"
	@echo
	@echo "make TARGET [VARIABLE=value ...]"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'
	@echo
	@echo "  DATASET=$(DATASET)   a manifest of data_manifests ($(filter-out template,$(basename $(notdir $(wildcard data_manifests/*.yaml))))), or the path of one"
	@echo "  DATA=$(DATA)   folder in which real datasets lie"
	@echo "  PROFILE=$(PROFILE)   quick (minutes), laptop (30 to 50 minutes), large (thousands of images, an hour), full (a GPU)"
	@echo "  RUNS=$(RUNS)   folder of all results"
	@echo "  DEVICE=$(DEVICE)   cpu or cuda; empty: cuda if there is one"
	@echo "  JOBS=$(JOBS)   notebooks at a time; empty: number of cores, or of GPUs"
	@echo "  FORGET=$(FORGET)   a file of patients to be forgotten, one id a line; empty: those of the profile, if it names a file"
	@echo "  METHOD=$(METHOD)   of make forget: a method of the profile"
	@echo "  VERIFY=$(VERIFY)   of make forget: the folder of a record, to check it and do nothing else"
	@echo "  CLUSTER=$(CLUSTER)   where they run: local (dask workers here), slurm (jobs of Slurm), tcp://host:port (a dask scheduler); empty: here"
	@echo "  PYTHON=$(PYTHON)   interpreter that makes the environment (3.11 or 3.12)"
	@echo "  VENV=$(VENV)   the environment; empty: use PYTHON as it is"

setup: $(READY) ## make the environment from requirements.lock

$(VENV)/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11, 5) <= sys.version_info[:3] < (3, 13))' || \
	  { echo "PYTHON=$(PYTHON) is $$($(PYTHON) --version 2>&1); expected Python 3.11 (3.11.5 or later) or 3.12: give another with PYTHON=..." >&2; exit 2; }
	@echo "making the environment in $(VENV) from requirements.lock: once, in about three minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@# tests read tables inside it; what it needs to run is not needed here
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps torchxrayvision==1.5.7
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

reproduce: $(READY) ## the whole study: models, tables, figures, report
check: $(READY) ## read and validate a dataset, and tell what is in it
status: $(READY) ## what is done, missing, failed and stale
tune: $(READY) ## search the settings of every method, once; the study then reads them
retime: $(READY) ## measure all costs anew, if something disturbed the clock
report: $(READY) ## tables and report from the models that are there
forget: $(READY) ## unlearn the patients of FORGET=ids.txt by METHOD, with a record; or check one: VERIFY=folder
clean: $(READY) ## remove all results of this dataset and profile
$(COMMANDS):
	@$(RUN) -m medunlearn $@

bench: $(READY) ## measure speed on this machine, or on DEVICE=cuda: ten minutes, an executed notebook
	@mkdir -p "$(RUNS)"
	$(RUN) -m papermill notebooks/09_speed.ipynb "$(RUNS)/09_speed.ipynb" --cwd notebooks --log-output \
	  -p dataset "$(DATASET)" -p data_root "$(DATA)" -p runs "$(RUNS)" -p profile "$(PROFILE)" \
	  -r device "$(DEVICE)" -p steps 64 -p rounds 9 -p seconds 2.0

lab: $(READY) ## open copies of the notebooks in JupyterLab: what is saved there changes no source
	@mkdir -p "$(RUNS)/notebooks"
	@for each in notebooks/*.ipynb; do [ -e "$(RUNS)/$$each" ] || cp "$$each" "$(RUNS)/$$each"; done
	@echo "copies in $(RUNS)/notebooks: yours to change; one that you delete is copied anew"
	@$(RUN) -m jupyter lab --notebook-dir="$(RUNS)/notebooks"

test: $(READY) ## style, types, unit tests and every notebook (under ten minutes on two cores)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m nbstripout --verify notebooks/*.ipynb
	$(RUN) -m pytest -m "not slow" --durations=10 $(BESIDE)
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && set -x && \
	  RUNS=$$folder $(RUN) -m pytest --nbval-lax --nbval-cell-timeout 3600 $(BESIDE) $(OPENED) && \
	  ls $$folder/phantom-quick/jobs/{01,02,03,08}*.ipynb && \
	  ! ls $$folder/phantom-quick/jobs/*.failed.ipynb

test-slow: $(READY) ## what takes longer: effects, faults, the same bytes twice
	$(RUN) -m pytest -m slow --durations=10 $(BESIDE)
