import html
import json
import re

import pytest

from dmmsa_cli.data.prediction_table import read_predictions, write_predictions
from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.plain import spelled_out
from dmmsa_cli.reporting.page.runs import WORST
from dmmsa_cli.reporting.report import build_report, report
from dmmsa_cli.training.run import RunFolder
from tests.reporting.conftest import write_run


def note(built, words):
    """The one note that holds these words."""
    (found,) = [note for note in built.notes if words in note]
    return found


def test_an_empty_folder_gives_the_published_tables_and_the_commands(tmp_path):
    built = build_report(tmp_path / "nowhere")
    assert len(built.tables) == 20
    assert len(built.notes) == 1
    assert "no runs" in built.notes[0] and "command" in built.notes[0]
    assert not built.comparisons


def test_a_dataset_without_published_tables_names_the_command_that_trains(tmp_path):
    built = build_report(tmp_path, "toy")
    assert not built.tables
    assert f"`dmmsa fuse --dataset toy --runs-dir {tmp_path}`" in built.notes[0]


def test_a_dataset_that_nobody_knows_is_an_error(tmp_path):
    with pytest.raises(InvalidInput, match="neither a run of nope"):
        build_report(tmp_path, "nope")


@pytest.mark.parametrize(
    ("began", "goes_on"),
    [
        ("dmmsa fuse --dataset mosi --force --seed 1", "To go on: `dmmsa fuse --dataset mosi --seed 1 --resume`."),
        ("dmmsa fuse --dataset mosi --resume", "To go on: `dmmsa fuse --dataset mosi --resume`."),
        ("dmmsa ablate --dataset mosi", "To go on: `dmmsa ablate --dataset mosi`."),
        ("pytest", "The command that began it goes on with --resume."),
    ],
)
def test_unfinished_runs_are_told_with_the_command_that_goes_on(tmp_path, began, goes_on):
    for seed in (1, 12):
        (write_run(tmp_path, seed=seed, facts={"command": began}) / "summary.json").unlink()
    built = build_report(tmp_path)
    message = note(built, "Unfinished")
    assert "seed-1, seed-12" in message
    assert message.endswith(goes_on)
    assert len(built.tables) == 20


def test_runs_that_diverged_are_told_with_another_remedy(tmp_path):
    folder = write_run(tmp_path, facts={"command": "dmmsa fuse --dataset mosi"})
    (folder / "summary.json").unlink()
    RunFolder(folder).note_divergence(3, "Epoch 3: the loss of msc is no longer a finite number.")
    built = build_report(tmp_path)
    message = note(built, "Diverged")
    assert f"Diverged: {folder}. Epoch 3: the loss of msc is no longer a finite number." in message
    assert "--learning-rate" in message
    assert not any("Unfinished" in one or "no runs" in one for one in built.notes)


def test_unevaluated_runs_are_told_with_the_command_that_evaluates(tmp_path):
    folder = write_run(tmp_path)
    (folder / "metrics.json").unlink()
    assert f"`dmmsa evaluate {folder}`" in note(build_report(tmp_path), "Not evaluated")
    (write_run(tmp_path, seed=12) / "predictions.csv").unlink()
    assert f"`dmmsa evaluate {folder.parent}`" in note(build_report(tmp_path), "Not evaluated")


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("metrics.json", "{", "dmmsa evaluate {folder}"),
        ("environment.json", "{}", "Train it again: delete its folder"),
        ("recipe.yaml", "objective: {name: dmmsa}", "`dmmsa fuse --dataset mosi --seed 1 --force`"),
        ("recipe.yaml", "text: 3", "`dmmsa fuse --dataset mosi --seed 1 --force`"),
        ("metrics.jsonl", "no json", "`dmmsa fuse --dataset mosi --seed 1 --force`"),
        ("predictions.csv", "id,text\n1,2\n", "dmmsa evaluate {folder}"),
    ],
)
def test_a_damaged_run_is_left_out_everywhere_and_told(tmp_path, name, content, remedy):
    folder = write_run(tmp_path, seed=1)
    write_run(tmp_path, seed=12)
    (folder / name).write_text(content)
    built = build_report(tmp_path)
    assert len(built.collection.damaged) == 1
    message = note(built, "Damaged")
    assert built.notes[0] == message
    assert message.startswith(f"Damaged, and left out everywhere: {folder / name} ")
    assert remedy.format(folder=folder) in message
    assert [s.seeds for s in built.collection.systems] == [(12,)]


def test_runs_of_one_dataset_are_all_that_is_told_of(tmp_path):
    (write_run(tmp_path) / "metrics.json").write_text("{")
    write_run(tmp_path, dataset="sims")
    built = build_report(tmp_path, "sims")
    assert not built.collection.damaged
    assert {table.dataset for table in built.tables} == {"sims"}


def test_ours_are_compared_with_ours(runs_dir):
    built = build_report(runs_dir, "mosi")
    assert {(c.first_label, c.second_label) for c in built.comparisons} == {
        ("DMMSA", "w/o MSC"),
        ("DMMSA", "w/o CL"),
        ("DMMSA", "w/o GDWG"),
    }


def test_csv_needs_no_figures(runs_dir, tmp_path):
    out = tmp_path / "out"
    _, written = report(runs_dir, ["csv"], out)
    assert written == [out / "tables.csv", out / "comparisons.csv"]
    assert sorted(path.name for path in out.iterdir()) == ["comparisons.csv", "tables.csv"]


def test_every_format_is_written_and_shows_the_figures(tmp_path):
    runs, out = tmp_path / "runs", tmp_path / "out"
    for variant, task in (("full", None), ("no-msc", "msc")):
        write_run(runs, variant=variant, changes={f"objective.{task}.enabled": False} if task else None)
    built, written = report(runs, ["markdown", "latex", "csv", "html"], out, "mosi")
    assert [path.name for path in written] == [
        *("tables.md", "tables.tex", "tables.csv", "comparisons.csv", "index.html", "figures")
    ]
    assert all(path.exists() for path in written)
    shown = (out / "tables.md").read_text()
    pictures = sorted((out / "figures").glob("*.png"))
    assert pictures
    for picture in pictures:
        assert f"(figures/{picture.name})" in shown
        assert f"{{figures/{picture.stem}.pdf}}" in (out / "tables.tex").read_text()
        assert picture.with_suffix(".pdf").exists()
    assert (
        f'"{built.comparisons[0].first_label}","{built.comparisons[0].second_label}"'
        in (out / "comparisons.csv").read_text()
    )
    assert not list(out.rglob("*.partial"))


AWKWARD = [
    *("ends in\r", "two\r\nlines", "a\x00b", "", "NA", "=1+1", "'=1+1", "$5 and $6", "%{x}", "<script>", "</script>"),
    *("&lt;b&gt;", "`code`", "a|b", "情感 😀", "e\u0301\u202e", "\u2028\x85", '"', "\\textbf{", "x" * 5000),
]


def test_any_transcript_and_id_goes_through_every_format(tmp_path):
    for variant, dropped in (("full", {}), ("no-msc", {"objective.msc.enabled": False})):
        folder = write_run(tmp_path / "runs", variant=variant, changes=dropped)
        table = read_predictions(folder / "predictions.csv")
        worst = (table["y_true"] - table["y_pred"]).abs().sort_values().index[: -WORST - 1 : -1]
        texts = dict(zip(worst, AWKWARD[:WORST] if variant == "full" else AWKWARD[-WORST:], strict=True))
        table["text"] = [texts.get(i, AWKWARD[i % len(AWKWARD)]) for i in range(len(table))]
        table["id"] = [f"{text}{i}$_${i}" for i, text in enumerate(table["text"])]
        write_predictions(folder / "predictions.csv", table)
    built, _ = report(tmp_path / "runs", ["markdown", "latex", "csv", "html"], tmp_path / "out", "mosi")
    assert built.notes == ("mosi: DMMSA against w/o MSC is left out. Their predictions are of other clips or labels. "
                           "Measure both again: evaluate.",)  # fmt: skip
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    shown = [html.unescape(text) for text in re.findall(r'<td class="text">(.*?)</td>', page, re.S)]
    words = [spelled_out(text) for text in (*AWKWARD[:WORST], *AWKWARD[-WORST:])]
    assert shown == [text.replace("\r\n", "\n").replace("\r", "\n") for text in words]
    json.loads(re.search(r'<script type="application/json" id="specs">(.*?)</script>', page, re.S)[1])


def test_what_was_made_when_and_how_is_told(tmp_path):
    made = build_report(tmp_path).made
    assert made["version"].startswith("dmmsa ")
    assert made["command"].startswith("dmmsa")
    assert made["made"].startswith("20")


def test_a_metrics_file_that_lacks_a_metric_is_damaged(tmp_path):
    folder = write_run(tmp_path)
    values = json.loads((folder / "metrics.json").read_text())
    del values["test"]["fused"]["corr"]
    (folder / "metrics.json").write_text(json.dumps(values))
    assert "lacks metrics" in note(build_report(tmp_path), "Damaged")


@pytest.mark.parametrize("metric", ["mae", "acc7", "corr"])
def test_metrics_that_the_predictions_contradict_are_damage(tmp_path, metric):
    folder = write_run(tmp_path)
    values = json.loads((folder / "metrics.json").read_text())
    values["test"]["fused"][metric] *= 1.01
    (folder / "metrics.json").write_text(json.dumps(values))
    assert f"contradict each other: {metric}" in note(build_report(tmp_path), "Damaged")


def test_a_study_without_a_table_is_told_with_its_command(tmp_path):
    write_run(tmp_path / "runs", variant="full")
    path = tmp_path / "mine.yaml"
    path.write_text("title: Mine\nvariants: [{name: full}, {name: narrow, set: {model.width: 384}}]\n")
    message = note(build_report(tmp_path / "runs", "mosi", [str(path)]), f"Of study {path}")
    assert f"`dmmsa ablate --dataset mosi --study {path} --recipe dmmsa " in message
    write_run(tmp_path / "runs", variant="narrow", changes={"model.width": 384})
    assert not [line for line in build_report(tmp_path / "runs", "mosi", [str(path)]).notes if "Of study" in line]
