# The course's commands. `make` alone lists them.
#
#   make course                     everything, from an empty machine to pages to look at
#   make course TORCH=cpu           the same with PyTorch's CPU-only builds (Linux; saves several GB)
#   make course CXR_DATA=/my/nih    the same on real radiographs (see data/README.md)

PYTHON ?= python3
TORCH ?= default
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# One stamp per variant, so that asking for the other one installs it.
STAMP := $(VENV)/.installed-$(TORCH)

export CXR_DATA

.PHONY: help setup course lab test data lock notebooks clean distclean

help: ## list the commands
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

setup: $(STAMP) ## create .venv and install the exact versions of requirements.lock

$(STAMP): requirements.lock pyproject.toml tools/cpu_lock.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is older. Try: make setup PYTHON=python3.12"; \
	  exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	rm -f $(VENV)/.installed-*
ifeq ($(TORCH),cpu)
	$(BIN)/python tools/cpu_lock.py requirements.lock $(VENV)/cpu.lock > $(VENV)/torch.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes --no-deps -r $(VENV)/cpu.lock
	$(BIN)/uv pip install --python $(BIN)/python --torch-backend cpu --no-deps $$(cat $(VENV)/torch.txt)
else
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements.lock
endif
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import torch, torchvision; torch.ops.torchvision.nms' || { \
	  echo "torch and torchvision do not fit together: remove .venv and run make setup again."; \
	  exit 1; }
	@touch $@

data: $(STAMP) ## make the phantom cohort in data/phantom, unless it is there
	$(BIN)/python -c 'from cxrlib.cohort import write_cohort; write_cohort("data/phantom")'

course: $(STAMP) ## run every notebook in order and leave pages to read in build/pages
	@test -n "$(CXR_DATA)" || $(MAKE) --no-print-directory data
	$(BIN)/python tools/course.py run

lab: $(STAMP) ## open JupyterLab on the first notebook
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb $(LAB_ARGS)

test: data ## check style, run the unit tests, and compare every notebook with its stored outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest $(PYTEST_ARGS)
	CXR_DATA= $(BIN)/pytest --nbval --nbval-current-env --nbval-cell-timeout 1800 $(PYTEST_ARGS) notebooks

lock: ## resolve pyproject.toml into requirements.lock (needs the network)
	$(BIN)/uv pip compile pyproject.toml --extra course --universal --python-version 3.11 \
	  --generate-hashes --no-header --output-file requirements.lock

notebooks: data ## for authors: run notebooks/scripts and write notebooks/*.ipynb with outputs
	$(BIN)/ruff format --quiet notebooks/scripts
	CXR_DATA= $(BIN)/python tools/course.py author $(NAMES)

clean: ## remove what the commands made, except .venv
	rm -rf build runs data/phantom .pytest_cache .ruff_cache .hypothesis

distclean: clean ## remove .venv too
	rm -rf $(VENV) cxrlib.egg-info
