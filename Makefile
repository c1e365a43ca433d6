# Every target works on a fresh clone: .venv is made on first use and renewed when setup.py or constraints.txt changes.
#   make demo         simulate ECGs, pretrain, name findings, draw pictures: everything is in runs/demo
#   make demo-quick   the same with fewer ECGs and a shorter training
#   make benchmark-ptbxl DATA=FOLDER   train each loss alone and both on real ECGs, and compare them with baselines
#   make benchmark-synthetic           the same on simulated ECGs, with structure probe, distribution shift, robustness
#   make test   the whole test suite          make lint   ruff and mypy          make bench   speed, as ratios
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# make benchmark-ptbxl: a folder with records.csv and signals.npy (int16, z-score x 1000, 100 Hz); folds 1-8 train, 9 is
# validation, 10, where it is there, test
DATA ?=
TEST_SPLIT ?= validation
TEXT_MODEL ?= sentence-transformers/all-MiniLM-L6-v2
SEEDS ?= 1
OUT ?= runs/benchmark-ptbxl
SYNTHETIC_OUT ?= runs/benchmark-synthetic

.PHONY: demo demo-quick test lint bench benchmark-ptbxl benchmark-synthetic clean

demo: $(STAMP)
	$(BIN)/merit demo

demo-quick: $(STAMP)
	$(BIN)/merit demo --quick

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadfile $(ARGS)

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
	$(BIN)/python benchmarks/streaming.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/bootstrap.py

benchmark-ptbxl: $(STAMP)
	@test -f '$(DATA)/records.csv' || { echo "give the records: make benchmark-ptbxl DATA=FOLDER [TEXT_MODEL=ID_OR_PATH] [SEEDS=3] [TEST_SPLIT=test]" >&2; exit 1; }
	test -d $(OUT)/corpus || $(BIN)/python dataset_scripts/from_table.py --records '$(DATA)/records.csv' \
	  --signals '$(DATA)/signals.npy' --sampling_rate 100 --scale 1000 --units zscore --report_language by_words \
	  --sex_codes 0=male 1=female --task_columns super_class sub_class form rhythm all=scp_codes --output_dir $(OUT)/corpus
	$(BIN)/python examples/ablation.py --corpus $(OUT)/corpus --config examples/configs/merit_tiny_ptbxl.yaml \
	  --text_model '$(TEXT_MODEL)' --baselines untrained random_convolutions --seeds $(SEEDS) --num_parallel 2 \
	  --tasks super_class sub_class all --test_split $(TEST_SPLIT) --corpus_name ptb_xl \
	  --data "a part of PTB-XL, z-scored at 100 Hz; folds 1-8 train, 9 validation, 10 test" --output $(OUT)/ablation.json

# Trained on one clinic's patients, then frozen: probed on other patients of it, and on an ambulance's with half the
# rate, four leads fewer, twice the noise and other findings.
benchmark-synthetic: $(STAMP)
	test -d $(SYNTHETIC_OUT)/pretraining || $(BIN)/python dataset_scripts/synthetic.py --num_records 1000 --noise 2 \
	  --sampling_rate 500 --output_dir $(SYNTHETIC_OUT)/pretraining
	test -d $(SYNTHETIC_OUT)/clinic || $(BIN)/python dataset_scripts/synthetic.py --num_records 2000 --noise 2 \
	  --sampling_rate 500 --seed 1 --output_dir $(SYNTHETIC_OUT)/clinic
	test -d $(SYNTHETIC_OUT)/ambulance || $(BIN)/python dataset_scripts/synthetic.py --num_records 2000 --noise 4 \
	  --sampling_rate 250 --seed 2 --lead_names I II V1 V2 V3 V4 V5 V6 --prevalence.NORM 0.05 --prevalence.AFIB 0.3 \
	  --prevalence.ASTE 0.2 --prevalence.LVH 0.04 --output_dir $(SYNTHETIC_OUT)/ambulance
	$(BIN)/python examples/ablation.py --corpus $(SYNTHETIC_OUT)/pretraining --config examples/configs/merit_tiny.yaml \
	  --seeds $(SEEDS) --num_parallel 2 --data "synthetic, noise 2" --output $(SYNTHETIC_OUT)/ablation.json
	$(BIN)/python examples/benchmark.py --corpora clinic=$(SYNTHETIC_OUT)/clinic ambulance=$(SYNTHETIC_OUT)/ambulance \
	  --data "clinic=synthetic, noise 2, 500 Hz, 12 leads" "ambulance=synthetic, noise 4, 250 Hz, 8 leads" \
	  --studies structure_probe distribution_shift robustness --seeds $(SEEDS) --num_parallel 2 --output_dir $(SYNTHETIC_OUT)/report \
	  --models $(foreach seed,$(shell seq 0 $$(($(SEEDS) - 1))),$(foreach loss,masked contrastive both,\
	    $(loss)=$(SYNTHETIC_OUT)/ablation.runs/$(loss)-seed$(seed)))

# The stamp is written last: an interrupted installation is done again.
$(STAMP): setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "merit-hf needs Python 3.10 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1); use: make PYTHON=/path/to/python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): 450 MB or more to download, 1.9 GB on the disk, some minutes; pip shows how far it is"
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[all]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
