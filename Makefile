# The course's commands. `make` alone lists them.
#
#   make course                     everything, from an empty machine to pages to look at
#   make course TORCH=cpu           the same with PyTorch's CPU-only builds (Linux; saves several GB)
#   make course CXR_DATA=/my/nih    the same on real radiographs (see data/README.md)
#   make experiments                the comparison of methods, trained anew
#   make fuzz                       some 24,000 bad inputs: every one answered or refused by name

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet

# Once .venv has PyTorch of one kind, default or cpu, it keeps it until TORCH says otherwise.
HAS_TORCH := $(shell cat $(VENV)/.torch 2>/dev/null)

PYTHON ?= python3
TORCH ?= $(or $(HAS_TORCH),default)
PYTEST_ARGS ?=

ifneq ($(TORCH),$(filter default cpu,$(TORCH)))
$(error TORCH=$(TORCH): expected default or cpu)
endif
ifneq ($(TORCH),$(or $(HAS_TORCH),$(TORCH)))
$(STAMP): FORCE
endif

export CXR_DATA
# Threads that wait for each other must not spin on cores that others need: see cxrlib/threads.py.
export GOMP_SPINCOUNT ?= 10000
# Notebooks run in notebooks/, so a relative CXR_DATA must become absolute first.
ABSOLUTE_DATA := case "$$CXR_DATA" in ""|/*) ;; *) CXR_DATA=$$PWD/$$CXR_DATA ;; esac

.DEFAULT_GOAL := help
.PHONY: help setup course lab site test test-browser data lock notebooks experiments benchmarks fuzz clean distclean FORCE

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## create .venv and install the exact versions of requirements.lock

$(STAMP): requirements.lock pyproject.toml tools/cpu_lock.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is not. Try: make setup PYTHON=python3.12"; \
	  exit 1; }
	@rm -f $@
	@if [ "$(TORCH)" != "$(or $(HAS_TORCH),$(TORCH))" ]; then \
	  echo "Changing PyTorch from $(HAS_TORCH) to $(TORCH): making .venv anew"; rm -rf $(VENV); fi
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "No virtual environment could be made. On Debian and Ubuntu: apt install python3-venv"; \
	  rm -rf $(VENV); exit 1; }
	@echo $(TORCH) > $(VENV)/.torch
	@echo "Installing requirements.lock into .venv, PyTorch: $(TORCH). The first time takes minutes."
# The CPU-only builds are for Linux: elsewhere the default ones bring no CUDA.
	@if [ "$(TORCH)" = cpu ] && [ "$$(uname -s)" = Linux ]; then \
	  mkdir -p build && \
	  torch=$$($(BIN)/python tools/cpu_lock.py requirements.lock build/requirements-cpu.lock) && \
	  $(PIP) --require-hashes --no-deps -r build/requirements-cpu.lock && \
	  $(BIN)/uv pip install --python $(BIN)/python --torch-backend cpu --no-deps --reinstall $$torch; \
	else \
	  $(PIP) --require-hashes -r requirements.lock; \
	fi
	@$(PIP) --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import torch, torchvision; torchvision.ops.nms; torch.ops.torchvision.nms' || { \
	  echo "torch and torchvision do not fit together. Remove .venv and run make setup again."; \
	  exit 1; }
	@touch $@

FORCE:

data: $(STAMP) ## make the phantom cohort in data/phantom, unless it is there
	@$(BIN)/python tools/make_data.py

course: $(STAMP) ## run every notebook in order and leave pages to read in build/pages
	@test -n "$$CXR_DATA" || $(BIN)/python tools/make_data.py
	@$(ABSOLUTE_DATA); $(BIN)/python tools/course.py run

# tools/jupyter: no questions about news, and widgets that still show something after a restart.
# Only errors and the address are printed. In containers one is root, which Jupyter must be told.
# A message may be as large as a radiograph of a hospital: 10 MiB, Tornado's own limit, is less.
MINE ?= mine
lab: $(STAMP) ## open JupyterLab on copies of your own, in mine/, without the answers
	@$(BIN)/python tools/course.py copy $(MINE)
	@$(ABSOLUTE_DATA); export CXR_DATA JUPYTER_CONFIG_PATH="$$PWD/tools/jupyter"; \
	$(BIN)/jupyter lab --ServerApp.root_dir="$$PWD" --log-level ERROR --LabApp.log_level ERROR \
	  --LabApp.default_url=/lab/tree/$(MINE)/00_start_here.ipynb \
	  --KernelManager.transport_encryption=auto \
	  --ServerApp.tornado_settings="{'websocket_max_message_size': $$((600 * 1024 * 1024))}" \
	  $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_ARGS)

site: $(STAMP) ## make a site of the committed course in build/site, which opens from any folder
	@OMP_NUM_THREADS=1 $(BIN)/python tools/make_site.py

# The stored outputs are the phantom's, whatever CXR_DATA says.
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout 1800
# A process for each core, with one thread, so that none waits for another's. The notebook that
# trains comes first: it takes longest, and others find its models. The one that needs them all
# comes last, or it would wait for them.
LONGEST := notebooks/05_training.ipynb
LAST := notebooks/06_evaluation.ipynb
PROCESSES ?= $$($(BIN)/python -c 'import joblib; print(min(4, joblib.cpu_count()))')
test: data ## check style, run the unit tests, and compare every notebook with its stored outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	CXR_DATA= OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(NBVAL) -n $(PROCESSES) --dist loadfile \
	  --no-loadscope-reorder $(PYTEST_ARGS) $(LONGEST) tests cxrlib \
	  $(filter-out $(LONGEST) $(LAST),$(sort $(wildcard notebooks/*.ipynb))) $(LAST)

test-browser: data ## see that everything answers in a real browser: some ten minutes
	CXR_DATA= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser tests/browser $(PYTEST_ARGS)

lock: | $(BIN)/uv ## resolve pyproject.toml into requirements.lock (needs the network)
	$(BIN)/uv pip compile pyproject.toml --extra course --universal --python-version 3.11 \
	  --generate-hashes --no-header --output-file requirements.lock

$(BIN)/uv:
	@echo "No .venv yet: run make setup first."; exit 1

notebooks: data ## for authors: run notebooks/scripts and write notebooks/*.ipynb with outputs
	$(BIN)/ruff format --quiet notebooks/scripts
	@CXR_DATA= $(BIN)/python tools/course.py author $(NAMES)

experiments: data ## train and compare all methods: about two hours on two cores, resumable
	@CXR_DATA= $(BIN)/python benchmarks/methods.py

benchmarks: data ## ratios of speed against a baseline measured in the same run: a few minutes
	@CXR_DATA= $(BIN)/python benchmarks/speed.py

fuzz: $(STAMP) ## try some 24,000 bad inputs: about half an hour on one core
	@$(BIN)/python tools/fuzz

clean: ## remove what the commands made, except .venv and trained runs
	rm -rf build data/phantom* data/.phantom* data/cache .pytest_cache .ruff_cache .hypothesis

distclean: clean ## remove .venv and the trained runs too
	rm -rf $(VENV) runs cxrlib.egg-info
