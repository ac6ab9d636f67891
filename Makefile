# make demo: installs, trains a small U-Net on phantoms, predicts, evaluates, shows where to look.
# make test: installs, then runs the tests.      make lint: installs, then runs ruff.
# Another Python has an environment of its own: make test PYTHON=python3.13 VENV=.venv-3.13

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN ?= runs/demo

# the CUDA wheels that suit the driver, where there is one; CUDA 13 wheels need a driver for CUDA 13
CUDA := $(shell nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9]*\).*/\1/p')
ifeq ($(CUDA),)
  REQUIREMENTS := requirements.txt
else ifeq ($(shell test $(CUDA) -ge 13 && echo yes),yes)
  REQUIREMENTS := requirements-cuda13.txt
else
  REQUIREMENTS := requirements-cuda.txt
endif

.PHONY: demo test test-part lint install

install: $(VENV)/installed

$(VENV)/installed: requirements.txt $(REQUIREMENTS) requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "jaxseg needs Python\
	 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1): make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -r $(REQUIREMENTS) -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: install
	$(BIN)/python train.py --config=configs/unet_phantom2d.py --workdir=$(RUN)
	$(BIN)/python -m jaxseg convert --config=configs/unet_phantom2d.py --output=$(RUN)/unseen
	$(BIN)/python -m jaxseg predict --workdir=$(RUN) --input=$(RUN)/unseen/imagesTr \
	  --output=$(RUN)/predictions --overlay
	$(BIN)/python -m jaxseg evaluate $(RUN)/predictions $(RUN)/unseen/labelsTr \
	  --json=$(RUN)/scores.json
	@echo "Picture (image | label | prediction): $(RUN)/panels/final.png"

# XLA's older emitters of fused loops compile a network's gradient in less than half the time, but
# round one sum differently in different programs: what compares bits is tested without them.
# jaxlib 0.11.1 and newer have no such flag, and XLA ends a process that sets an unknown one.
OLDER := --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1
QUICK = $(shell XLA_FLAGS="$(OLDER)" $(BIN)/python -c "import jax; jax.devices()" >/dev/null 2>&1 && echo $(OLDER))
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal -q --durations=20

test: install
	XLA_FLAGS="$(XLA_FLAGS) $(QUICK)" $(PYTEST) -m "not bits"
	$(PYTEST) -m bits

# every EVERY-th test of each file, for a look at another machine in minutes
EVERY ?= 10
test-part: install
	XLA_FLAGS="$(XLA_FLAGS) $(QUICK)" $(PYTEST) -m "not bits" --every=$(EVERY)
	$(PYTEST) -m bits --every=$(EVERY)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
