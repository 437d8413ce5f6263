"""`make reproduce`, with a stand-in for the program that only writes down how it was called."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dmmsa_cli.experiments.recipes import recipe_names

ROOT = Path(__file__).resolve().parents[1]
STAND_IN = """#!/bin/sh
echo "$*" >> {calls}
case "$1" in
  prepare) name=$2$(case "$*" in *--aligned*) echo -aligned;; esac)
    mkdir -p {out}/data/$name && touch {out}/data/$name/manifest.json ;;
  report) mkdir -p {out}/report && echo page > {out}/report/index.html ;;
  ablate) [ ! -e {out}/broken ] ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    out, calls, program = tmp_path / "out", tmp_path / "calls", tmp_path / "dmmsa"
    program.write_text(STAND_IN.format(calls=calls, out=out))
    program.chmod(0o755)
    (tmp_path / ".installed").touch()

    def run(*arguments, target="reproduce", status=0):
        calls.write_text("")
        given = [f"VENV={tmp_path}", f"DMMSA={program}", *([f"OUT={out}"] if target == "reproduce" else [])]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        done = subprocess.run(
            ["make", "-s", "-C", ROOT, target, *given, *arguments], capture_output=True, text=True, env=environment
        )
        assert (done.returncode != 0) == (status != 0), done.stdout + done.stderr
        run.told = done.stdout + done.stderr
        return [line.split(" --data-dir")[0].split(" --runs-dir")[0] for line in calls.read_text().splitlines()]

    run.out = out
    return run


def test_every_stage_in_its_order(make):
    assert make("DATASETS=toy", "SEEDS=1 12") == [
        "prepare toy",
        "pretrain-unimodal --dataset toy --recipe dmmsa",
        "fuse --dataset toy --recipe dmmsa --resume --seed 1 12",
        "fuse --dataset toy --recipe confede --resume --seed 1 12",
        "ablate --dataset toy --study objectives --recipe dmmsa --jobs 1 --seed 1 12",
        "ablate --dataset toy --study data --recipe dmmsa --jobs 1 --seed 1 12",
        "ablate --dataset toy --study systems --recipe dmmsa --jobs 1 --seed 1 12",
        "evaluate --dataset toy",
        f"report --format markdown latex csv html --out {make.out}/report",
    ]


def test_what_has_not_changed_is_not_done_again(make):
    assert make("DATASETS=toy")
    assert make("DATASETS=toy") == []


def test_other_seeds_and_studies_run_again(make):
    make("DATASETS=toy", "SEEDS=1")
    assert any("--seed 1 12" in call for call in make("DATASETS=toy", "SEEDS=1 12"))
    fewer = make("DATASETS=toy", "SEEDS=1 12", "STUDIES_toy=objectives")
    assert [call for call in fewer if "--study" in call] == [
        "ablate --dataset toy --study objectives --recipe dmmsa --jobs 1 --seed 1 12"
    ]


def test_a_new_file_of_features_is_looked_at_again(make, tmp_path):
    (tmp_path / "mosi.pkl").write_text("features")
    given = ("DATASETS=mosi", f"FROM_mosi={tmp_path / 'mosi.pkl'}")
    assert make(*given)[0] == f"prepare mosi --from {tmp_path / 'mosi.pkl'}"
    assert make(*given) == []
    os.utime(tmp_path / "mosi.pkl", (2e9, 2e9))
    assert make(*given)[0].startswith("prepare mosi")


def test_the_papers_datasets_are_the_default(make):
    calls = make()
    prepared = [call.removeprefix("prepare ") for call in calls if call.startswith("prepare")]
    assert prepared == ["mosi", "mosei", "sims", "mosi --aligned", "mosei --aligned"]
    assert sum(call.startswith("report") for call in calls) == 1
    assert "ablate --dataset sims --study objectives --recipe dmmsa --jobs 1" in calls  # Table 5
    assert "ablate --dataset mosei --study data --recipe dmmsa --jobs 1" in calls  # Table 4
    for dataset in ("mosi", "mosei", "sims"):  # Tables 2 and 3
        assert f"fuse --dataset {dataset} --recipe confede --resume" in calls
        assert f"ablate --dataset {dataset} --study systems --recipe dmmsa --jobs 1" in calls
    word_by_word = [call.split()[4] for call in calls if call.startswith("fuse --dataset mosi-aligned")]
    assert word_by_word == ["mfn", "mfn-released", "mag-bert", "mag-bert-released"]
    trained = {call.split()[4] for call in calls if call.startswith("fuse")}
    assert {name for name in recipe_names("mosi") if name.endswith("-released")} <= trained


def test_variants_aligned_to_the_words_have_no_encoders_and_no_studies_of_their_own(make):
    given = "DATASETS=mosi-aligned", "FUSED_mosi-aligned=mfn"
    assert [call.split()[0] for call in make(*given)] == ["prepare", "fuse", "evaluate", "report"]
    assert make(*given) == []


def test_where_runs_fail_the_rest_is_made_and_the_same_command_tries_again(make):
    make.out.mkdir()
    (make.out / "broken").touch()
    calls = [call.split()[0] for call in make("DATASETS=toy sims", status=2)]
    assert calls.count("ablate") == 5  # toy's three studies, and the two of CH-SIMS
    assert calls.count("evaluate") == 2 and calls.count("report") == 1
    assert "Runs of study data failed on toy" in make.told
    (make.out / "broken").unlink()
    again = [call.split()[0] for call in make("DATASETS=toy sims")]
    assert again == [*["ablate"] * 3, "evaluate", *["ablate"] * 2, "evaluate", "report"]
    assert make("DATASETS=toy sims") == []


@pytest.mark.parametrize("gone", ["runs/toy", "data/toy", "runs/toy/.fused", "runs/toy/.evaluated"])
def test_what_is_deleted_is_made_again(make, gone):
    make("DATASETS=toy")
    path = make.out / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    calls = [call.split()[0] for call in make("DATASETS=toy")]
    first = {"runs/toy": "prepare", "data/toy": "prepare", "runs/toy/.fused": "fuse", "runs/toy/.evaluated": "evaluate"}
    assert calls[0] == first[gone]
    assert calls[-1] == "report"


def test_a_dataset_of_ones_own_has_all_its_stages(make, tmp_path):
    (tmp_path / "mine.yaml").write_text("score_range: 3")
    calls = make("DATASETS=mine", f"SPEC_mine={tmp_path / 'mine.yaml'}")
    assert calls[0] == f"prepare mine --spec {tmp_path / 'mine.yaml'}"
    assert "fuse --dataset mine --recipe confede --resume" in calls
    assert "ablate --dataset mine --study objectives --recipe dmmsa --jobs 1" in calls


def test_real_needs_its_data_and_says_so(make):
    assert make("DMMSA_REAL_DATA=", target="real", status=2) == []
    assert "make real needs DMMSA_REAL_DATA" in make.told
