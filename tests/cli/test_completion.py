"""What the shell offers behind an option, through the protocol that it asks by, in a process of its own."""

import json
import os
import subprocess
import sys

import pytest

from dmmsa_cli.cli.completion import KNOWN
from dmmsa_cli.data.specs import ALIGNED, SPECS

HEAVY = ["torch", "transformers", "pandas", "numpy", "pyarrow", "scipy", "yaml", "matplotlib", "plotly", "jinja2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with datasets and runs, as far as completion looks at them."""
    folder = tmp_path_factory.mktemp("completion")
    for name, family in (("mine", "default"), ("mosi", "mosi"), ("talks", "sims")):
        (folder / "data" / name).mkdir(parents=True)
        (folder / "data" / name / "manifest.json").write_text(json.dumps({"spec": {"recipes": family}}))
    (folder / "data" / "torn").mkdir()
    (folder / "data" / "torn" / "manifest.json").write_text("{")
    for run, finished in (("mosi/dmmsa/full/seed-1", True), ("mosi/dmmsa/full/seed-2", False)):
        (folder / "runs" / run).mkdir(parents=True)
        (folder / "runs" / run / ("summary.json" if finished else "recipe.yaml")).write_text("{}")
    (folder / "small.yaml").write_text("base: toy/dmmsa\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "wide.yaml").write_text("base: toy/dmmsa\n")
    return folder


def offered(line, cwd, **environment):
    """What bash is offered for the last word of a line."""
    words = line.split(" ")
    code = (
        "import sys\nsys.argv = ['dmmsa']\nfrom dmmsa_cli.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"sys.exit(','.join(name for name in {HEAVY} if name in sys.modules) or 0)"
    )
    asked = {"_DMMSA_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env=os.environ | asked | environment
    )
    assert done.returncode == 0, done.stderr  # the heavy imports, if any
    return done.stdout.split()


@pytest.mark.parametrize("command", ["fuse", "ablate", "pretrain-unimodal", "evaluate", "list", "report"])
def test_datasets(place, command):
    assert offered(f"dmmsa {command} --dataset m", place) == ["mine", "mosi", "mosei", "meld"]
    assert offered(f"dmmsa {command} -d ta", place) == ["talks"]


def test_datasets_lie_where_they_are_said_to(place, tmp_path):
    assert offered("dmmsa fuse --dataset mi", tmp_path) == []
    assert offered(f"dmmsa fuse --data-dir {place}/data --dataset mi", tmp_path) == ["mine"]
    assert offered("dmmsa fuse --dataset mi", tmp_path, DMMSA_DATA=f"{place}/data") == ["mine"]


def test_what_can_be_prepared(place):
    assert offered("dmmsa prepare mo", place) == ["mosi", "mosei"]
    assert offered("dmmsa prepare mine --emotions-from ta", place) == ["talks"]
    assert {name for name in SPECS if not name.endswith(ALIGNED)} == set(KNOWN)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("fuse --dataset mine --recipe ti", ["tiny"]),
        ("fuse --dataset mosi --recipe minilm-conf", ["minilm-confede"]),
        ("fuse --dataset talks --recipe confede-r", ["confede-released"]),
        ("fuse --dataset torn --recipe ti", ["tiny"]),
        ("fuse --dataset mosei-aligned --recipe mp", ["mpnet"]),
        ("fuse --dataset mine --recipe toy/dm", ["toy/dmmsa"]),
        ("fuse --recipe toy/dm", ["toy/dmmsa"]),
        ("fuse --recipe studies/", []),
        ("fuse --dataset mine --recipe sm", ["small.yaml"]),
        ("fuse --dataset mine --recipe sub/w", ["sub/wide.yaml"]),
        ("ablate --dataset mosi --study weighting", ["weighting", "weighting-many"]),
        ("ablate --dataset mosi --study sm", ["small.yaml"]),
        ("report --study gd", ["gdwg"]),
    ],
)
def test_recipes_and_studies(place, line, names):
    assert offered(f"dmmsa {line}", place) == names


def test_recipes_of_the_dataset_alone_before_a_letter_is_typed(place):
    found = offered("dmmsa fuse --dataset mine --recipe ", place)
    assert "minilm" in found
    assert not any("/" in name for name in found)
    assert "mosi/minilm" in offered("dmmsa fuse --recipe ", place)


def test_runs(place):
    finished = "runs/mosi/dmmsa/full/seed-1"
    assert offered("dmmsa predict runs/", place) == [finished]
    assert offered("dmmsa export ", place) == [finished]
    assert offered("dmmsa predict runs/mosi/dmmsa/full/seed-2", place) == []
    assert offered(f"dmmsa predict {finished} ru", place) == [finished]
    above = ["runs/mosi", "runs/mosi/dmmsa", "runs/mosi/dmmsa/full"]
    assert offered("dmmsa evaluate ru", place) == [*above, finished]
    assert offered("dmmsa export ", place / "sub", DMMSA_RUNS="../runs") == [f"../{finished}"]
