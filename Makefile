# Every target works on a fresh clone: .venv is made on first use and renewed when setup.py or constraints.txt changes.
#   make demo   synthetic corpus -> pretraining -> zero-shot scores and a picture in runs/demo
#   make test   the whole test suite          make lint   ruff and mypy          make bench   speed, as ratios
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint bench clean

demo: $(STAMP)
	$(BIN)/python examples/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/wfdb_reading.py
	$(BIN)/python benchmarks/builder.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/feature_extraction.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/training_step.py

# The stamp is written last: an interrupted installation is done again.
$(STAMP): setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "merit-hf needs Python 3.10 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1); use: make PYTHON=/path/to/python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
