import shlex
from pathlib import Path

import pytest

from dmmsa_cli.places import DATA, RUNS, elsewhere


def test_the_usual_folders_need_no_option():
    assert elsewhere() == elsewhere(DATA, RUNS) == elsewhere(Path("./data"), Path("runs/")) == ""


@pytest.mark.parametrize("name", ["other", "two words", "it's", "$HOME", "a;b", "电影"])
def test_a_shell_reads_the_folders_as_they_are(name):
    assert shlex.split(elsewhere(Path(name), Path("/scratch") / name)) == [
        *("--data-dir", name),
        *("--runs-dir", f"/scratch/{name}"),
    ]
