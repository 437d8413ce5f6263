import os
import shlex
import sys
from pathlib import Path

import pytest

from dmmsa_cli import commands
from dmmsa_cli.commands import DATA, again, command, going_on, instead, nearby, program, to_go_on, work_in, wrapped


def test_the_usual_folders_need_no_option():
    work_in(data_dir=Path("./data"), runs_dir=Path("runs/"))
    assert command("fuse", dataset="mosi") == "dmmsa fuse --dataset mosi"


@pytest.mark.parametrize("name", ["other", "two words", "it's", "$HOME", "a;b", "电影"])
def test_a_shell_reads_every_word_as_it_is(name):
    work_in(data_dir=Path(name), runs_dir=Path("/scratch") / name)
    words = shlex.split(command("evaluate", Path(name) / "seed-1", dataset=name, missing="0:0.9:0.1"))
    assert words == [
        *("dmmsa", "evaluate", f"{name}/seed-1", "--dataset", name, "--missing", "0:0.9:0.1"),
        *("--data-dir", name, "--runs-dir", f"/scratch/{name}"),
    ]


def test_what_a_command_knows_nothing_of_it_is_not_given():
    work_in(data_dir=Path("there"), runs_dir=Path("here"))
    assert command("prepare", "toy") == "dmmsa prepare toy --data-dir there"
    assert command("report", dataset="toy") == "dmmsa report --dataset toy --runs-dir here"


def test_options_are_flags_lists_or_left_out():
    given = command("fuse", dataset="x", seed=[1, 12], force=True, resume=False, recipe=None)
    assert given == "dmmsa fuse --dataset x --seed 1 12 --force"


def test_a_folder_that_is_named_stands_for_the_usual_one():
    work_in(runs_dir=Path("here"))
    assert command("fuse", dataset="x", runs_dir=Path("there")) == "dmmsa fuse --dataset x --runs-dir there"


def test_a_command_is_given_again_where_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    began = ["fuse", "--dataset", "two words", "--force"]
    line = "dmmsa fuse --dataset 'two words'"
    assert going_on(began) == f"{line} --resume"
    assert going_on([*began, "--resume"], str(tmp_path)) == f"{line} --resume"
    assert going_on(began, "/the other") == f"cd '/the other' && {line} --resume"
    assert going_on(["ablate", "--dataset", "x"]) == "dmmsa ablate --dataset x"
    began = ["fuse", "--seed", "1", "12", "--dataset", "two words", "--resume", "--seed=3"]
    assert again(began, 12) == f"{line} --seed 12 --force"


def test_a_command_is_given_with_another_recipe(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dmmsa", "fuse", "--recipe", "mine.yaml", "--dataset", "a b", "--recipe=x"])
    assert instead(recipe="default/tiny") == "dmmsa fuse --dataset 'a b' --recipe default/tiny"
    monkeypatch.setattr(sys, "argv", ["a_users_script.py"])
    assert instead(recipe="default/tiny") == "--recipe default/tiny"


def test_a_folder_of_the_environment_is_said(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dmmsa", "fuse", "--dataset", "x", "--runs-dir=there"])
    work_in(data_dir=Path("a b"), runs_dir=Path("there"))
    assert to_go_on() == "To go on: `dmmsa fuse --dataset x --runs-dir=there --data-dir 'a b' --resume`."
    monkeypatch.setenv("DMMSA_DATA", "elsewhere")
    work_in(data_dir=DATA)
    assert command("prepare", "toy") == "dmmsa prepare toy --data-dir data"


def test_what_was_stopped_says_how_it_goes_on(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dmmsa", "--debug", "fuse", "--dataset", "a b", "--force"])
    assert to_go_on() == "To go on: `dmmsa --debug fuse --dataset 'a b' --resume`."
    monkeypatch.setattr(sys, "argv", ["a_users_script.py", "x"])
    assert to_go_on() == "The same call goes on from here, with resume=True."


def test_paths_are_short_where_they_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert nearby(tmp_path / "a" / "b") == Path("a/b")
    assert nearby(Path("/else")) == Path("/else")


def test_the_program_is_called_as_the_shell_finds_it(tmp_path, monkeypatch):
    script = tmp_path / "some bin" / "dmmsa"
    script.parent.mkdir()
    script.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["some bin/dmmsa", "fuse"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert program() == "'some bin/dmmsa'"
    monkeypatch.setenv("PATH", f"/nowhere{os.pathsep}{script.parent}")
    assert program() == "dmmsa"
    monkeypatch.setattr(sys, "argv", [str(Path(commands.__file__).with_name("__main__.py"))])
    monkeypatch.setattr(sys, "executable", str(script.with_name("python")))
    assert program() == "dmmsa"
    monkeypatch.setenv("PATH", "/nowhere")
    assert program() == "'some bin/dmmsa'"
    script.unlink()
    assert program() == f"'{script.with_name('python')}' -m dmmsa_cli"
    monkeypatch.setattr(sys, "argv", ["a_users_script.py"])
    assert program() == "dmmsa"


def test_the_table_of_folders_is_that_of_the_commands():
    import typer

    from dmmsa_cli.cli import app

    for name, one in typer.main.get_command(app).commands.items():
        options = {parameter.name for parameter in one.params}
        of_emotions = {"runs_dir"} if name == "prepare" else set()  # needed with --emotions-from alone
        assert set(commands.FOLDERS.get(name, ())) == options & {"data_dir", "runs_dir"} - of_emotions, name


def test_lines_break_between_words_and_never_within_a_command():
    text = "Some runs are not there yet (`dmmsa ablate --dataset 'two words'`), some are.\n  indented"
    assert wrapped(text, 20).split("\n") == [
        *("Some runs are not", "there yet", "(`dmmsa ablate --dataset 'two words'`),", "some are.", "  indented"),
    ]
