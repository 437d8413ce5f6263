import itertools
import json
import warnings

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text
from PIL import Image

from dmmsa_cli.reporting.collection import Collection, collect
from dmmsa_cli.reporting.contents import Report
from dmmsa_cli.reporting.figures import paper, plots, predictions, weights, write
from dmmsa_cli.reporting.figures.paper import STYLES
from dmmsa_cli.reporting.figures.write import draw, write_figures
from dmmsa_cli.reporting.page.figures import charts
from tests.reporting.conftest import write_run

NO_MSC, NO_CL = {"objective.msc.enabled": False}, {"objective.cl.enabled": False}
ALL = ["figure-4", "figure-5", "figure-6", "weights", "losses", "confusion", "mae-by-label", "intervals"]


def drawn(folder, problems=None):
    return {drawing.id: drawing for drawing in draw(collect(folder).systems, problems)}


def three(folder, others=None, **kind):
    """DMMSA, without MSC, without CL."""
    for variant, dropped in (("full", {}), ("no-msc", NO_MSC), ("no-cl", NO_CL)):
        changes = (others or {}) | dropped
        write_run(folder, variant=variant, changes=changes, error=0.8 + 0.1 * bool(dropped), **kind)


def words(drawing):
    drawing.canvas.canvas.draw()
    return [text.get_text() for text in drawing.canvas.findobj(Text) if text.get_visible()]


def test_every_figure_is_there_as_png_and_pdf(tmp_path):
    three(tmp_path / "runs")
    report = Report(collect(tmp_path / "runs"), (), ())
    found = write_figures(report, tmp_path / "figures")
    assert [figure.id for figure in found] == [f"{name}-mosi" for name in ALL]
    for figure in found:
        with Image.open(figure.png) as image:
            assert image.format == "PNG"
            assert image.width in (700, 1400)
            assert len(np.unique(np.asarray(image.convert("L")))) > 10
        content = figure.pdf.read_bytes()
        assert content.startswith(b"%PDF-")
        assert content.rstrip().endswith(b"%%EOF")
        assert b"/FontFile2" in content
        assert b"/Type3" not in content
    assert sorted(p.suffix for p in (tmp_path / "figures").iterdir()) == [".pdf"] * 8 + [".png"] * 8


def test_the_same_runs_give_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "FIGURES", (predictions,))  # curves, patches and a rasterised part
    three(tmp_path / "runs")
    report = Report(collect(tmp_path / "runs"), (), ())
    first, second = (write_figures(report, tmp_path / name) for name in ("a", "b"))
    assert first
    for one, other in zip(first, second, strict=True):
        assert one.png.read_bytes() == other.png.read_bytes()
        assert one.pdf.read_bytes() == other.pdf.read_bytes()


def test_no_setting_of_matplotlib_is_left_changed(tmp_path):
    before = dict(mpl.rcParams)
    write_run(tmp_path)
    assert drawn(tmp_path)
    assert dict(mpl.rcParams) == before


def test_synthetic_data_say_so_in_figure_title_and_caption(tmp_path):
    three(tmp_path, dataset="toy")
    found = drawn(tmp_path)
    assert list(found) == [f"{name}-toy" for name in ALL]
    for drawing in found.values():
        assert any("SYNTHETIC data" in text for text in words(drawing))
        assert "SYNTHETIC data" in drawing.caption
        assert "SYNTHETIC data" in drawing.title


def test_real_data_do_not_and_name_their_conditions(tmp_path):
    write_run(tmp_path, recipe="minilm", modalities=("t", "a"), published=False)
    found = drawn(tmp_path)
    assert "confusion-mosi-minilm-ta" in found
    for drawing in found.values():
        assert not any("SYNTHETIC" in text for text in words(drawing))
        assert "MOSI · MiniLM, text+audio, not the published file" in words(drawing)
        assert "MOSI (MiniLM, text+audio, not the published file)" in drawing.caption


def test_a_figure_whose_runs_are_missing_is_not_there(tmp_path):
    assert drawn(tmp_path) == {}
    assert write_figures(Report(Collection(), (), ()), tmp_path / "figures") == []
    assert not (tmp_path / "figures").exists()
    write_run(tmp_path)
    assert list(drawn(tmp_path)) == [f"{name}-mosi" for name in ALL[3:]]
    write_run(tmp_path, variant="no-msc", changes=NO_MSC)
    assert list(drawn(tmp_path)) == [f"{name}-mosi" for name in ALL if name != "figure-5"]


def test_without_gdwg_or_with_one_task_there_are_no_weights_to_draw(tmp_path):
    write_run(tmp_path / "fixed", changes={"objective.weighting.name": "equal"}, recipe="dmmsa", variant="full")
    alone = write_run(tmp_path / "alone")
    lines = [json.loads(line) for line in (alone / "metrics.jsonl").read_text().splitlines()]
    (alone / "metrics.jsonl").write_text("".join(json.dumps(line | {"weights": {"uni": 1.0}}) + "\n" for line in lines))
    assert "weights-mosi" not in drawn(tmp_path / "fixed")
    found = drawn(tmp_path / "alone")
    assert "losses-mosi" in found
    assert "weights-mosi" not in found


@pytest.mark.parametrize("damage", ["gone", "twice"])
def test_damaged_predictions_cost_only_the_figures_made_of_them_and_are_told_once(tmp_path, damage):
    three(tmp_path)
    path = tmp_path / "mosi/dmmsa/full/seed-1/predictions.csv"
    if damage == "gone":
        path.unlink()
    else:
        path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    problems = []
    assert list(drawn(tmp_path, problems)) == [f"{name}-mosi" for name in ("figure-4", "figure-5", "weights", "losses")]
    (problem,) = problems
    assert problem.startswith("A figure of MOSI is left out. ")
    assert "dmmsa evaluate" in problem


def test_two_data_of_one_name_are_told_apart(tmp_path):
    write_run(tmp_path, seed=1)
    write_run(tmp_path, seed=12, data_hash="f" * 60)
    found = drawn(tmp_path)
    assert {"losses-mosi", "losses-mosi-2"} < set(found)
    assert "MOSI (data c0ffeec0)" in found["losses-mosi"].caption
    assert "MOSI (data ffffffff)" in found["losses-mosi-2"].caption


# --- what is in them ------------------------------------------------------------------------------------------------


def curves(folder, first, second):
    for variant, maes in (("full", first), ("no-msc", second)):
        for seed, values in maes.items():
            run = write_run(folder, variant=variant, changes=NO_MSC if variant == "no-msc" else None, seed=seed)
            lines = [
                {"epoch": i + 1, "losses": {}, "weights": {}, "validation": {"mae": mae}}
                for i, mae in enumerate(values)
            ]
            (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return drawn(folder)["figure-4-mosi"]


def test_figure_4_has_means_bands_and_circles_at_the_lowest(tmp_path):
    drawing = curves(tmp_path, {1: [1.0, 0.8, 0.9], 12: [1.2, 0.6, 0.9]}, {1: [1.1, 1.0, 0.7], 12: [1.1, 1.0, 0.9]})
    (axes,) = drawing.canvas.axes
    named = {line.get_label(): line.get_ydata() for line in axes.lines if not line.get_label().startswith("_")}
    assert named["with MSC (lowest 0.7000, epoch 2)"] == pytest.approx([1.1, 0.7, 0.9])
    assert named["w/o MSC (lowest 0.8000, epoch 3)"] == pytest.approx([1.1, 1.0, 0.8])
    circles = [line.get_xydata()[0].tolist() for line in axes.lines if line.get_markerfacecolor() == "none"]
    assert [pytest.approx(circle) for circle in circles] == [[2, 0.7], [3, 0.8]]
    assert len(axes.collections) == 2
    assert "mean over 2 seeds, band ± 1 sample sd" in drawing.caption


def test_one_seed_has_no_band_and_unequal_numbers_of_seeds_are_told(tmp_path):
    drawing = curves(tmp_path, {1: [1.0, 0.8]}, {1: [1.1, 1.0], 12: [1.1, 1.0]})
    assert len(drawing.canvas.axes[0].collections) == 1
    assert "mean over 1 and 2 seeds" in drawing.caption
    (tmp_path / "alone").mkdir()
    assert "one seed" in curves(tmp_path / "alone", {1: [1.0, 0.8]}, {1: [1.1, 1.0]}).caption


def test_figure_5_writes_every_value_on_one_scale(tmp_path):
    three(tmp_path, modalities=("t", "a"))
    drawing = drawn(tmp_path)["figure-5-mosi-ta"]
    panels = [axes for axes in drawing.canvas.axes if axes.images]
    assert [axes.get_title() for axes in panels] == ["with CL", "w/o CL"]
    for axes in panels:
        assert axes.images[0].get_clim() == (-1, 1)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["$T_{s}$", "$A_{s}$", "$T_{d}$", "$A_{d}$"]
        shown = [float(text.get_text().replace("−", "-")) for text in axes.texts]
        assert shown == pytest.approx(np.asarray(axes.images[0].get_array()).ravel(), abs=0.00501)


def test_figure_6_has_the_tables_mae_and_the_three_classes(tmp_path):
    three(tmp_path)
    systems = {one.variant: one for one in collect(tmp_path).systems}
    drawing = drawn(tmp_path)["figure-6-mosi"]
    for axes, name, variant in zip(drawing.canvas.axes, ("with MSC", "w/o MSC"), ("full", "no-msc"), strict=True):
        assert axes.get_title() == f"{name}: MAE {systems[variant].summary.mean['mae']:.4f}"
        assert len(axes.collections[0].get_offsets()) == 120
        neutral = axes.patches[1]
        assert (neutral.get_x(), neutral.get_width(), neutral.get_height()) == pytest.approx((-0.5, 1, 1))


def test_a_weight_that_hardly_moves_looks_like_one(tmp_path):
    write_run(tmp_path)
    (axes,) = drawn(tmp_path)["weights-mosi"].canvas.axes
    assert axes.get_ylim() == pytest.approx((0.4, 0.6))


def test_the_cells_of_the_confusion_matrix_are_shares_of_their_row(tmp_path):
    write_run(tmp_path, seed=1)
    write_run(tmp_path, seed=12)
    (axes,) = drawn(tmp_path)["confusion-mosi"].canvas.axes
    shares = np.asarray(axes.images[0].get_array())
    assert shares.sum(axis=1) == pytest.approx(np.ones(7))
    assert sum(int(text.get_text().split("\n")[1]) for text in axes.texts) == 240


def test_mae_by_label_shows_confede_beside_dmmsa(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, recipe="confede", error=1.0)
    (axes,) = drawn(tmp_path)["mae-by-label-mosi"].canvas.axes
    bars = [container for container in axes.containers if hasattr(container, "patches")]
    assert [container.get_label() for container in bars] == ["DMMSA", "ConFEDE"]
    assert bars[0].patches[0].get_hatch() != bars[1].patches[0].get_hatch()


def test_no_whisker_reaches_below_no_error_at_all(tmp_path):
    for seed, error in ((1, 0.01), (2, 3.0)):  # so that the sd is larger than the mean
        write_run(tmp_path, seed=seed, error=error)
    (axes,) = drawn(tmp_path)["mae-by-label-mosi"].canvas.axes
    ends = [point for lines in axes.collections for path in lines.get_paths() for point in path.vertices[:, 1]]
    assert len(ends) == 14
    assert min(ends) >= 0
    assert max(ends) > 1


def test_thirteen_systems_are_told_apart(tmp_path):
    for count in range(13):
        changes = {"objective.weighting.temperature": 1 + count / 10} if count else None
        write_run(tmp_path, variant=f"tau {count}" if count else "full", seed=1, changes=changes)
    write_run(tmp_path, seed=2)
    (axes,) = drawn(tmp_path)["mae-by-label-mosi"].canvas.axes
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert len(set(names)) == 13 and len(axes.texts) == 13 * 7
    assert names[:2] == ["DMMSA (2 seeds)", "dmmsa/tau 1 (1 seed)"]
    (chart,) = [chart for chart in charts(collect(tmp_path).systems) if chart.id == "mae-by-label"]
    (variant,) = chart.variants
    (heat,) = variant.panels[0].data
    assert variant.label.endswith(" and 12 more (2 and 1 seeds)")
    assert len(heat["z"]) == len(set(heat["y"])) == len(set(variant.panels[0].layout["yaxis"]["ticktext"])) == 13


def test_a_few_systems_are_lines_and_any_number_has_looks_of_its_own():
    looks = list(itertools.islice(plots.styles(), 36))
    assert looks[:6] == list(plots.STYLES)
    assert len(set(looks)) == 36
    assert len({(look.dash, look.symbol) for look in looks[:12]}) == 12  # also without colour


def test_a_number_that_rounds_to_nothing_has_no_sign(tmp_path):
    three(tmp_path)
    for path in tmp_path.glob("*/*/*/*/features.json"):
        kept = json.loads(path.read_text())
        kept["test"]["cosine"] = np.full((6, 6), -0.001).tolist()
        path.write_text(json.dumps(kept))
    left, right, _ = drawn(tmp_path)["figure-5-mosi"].canvas.axes
    assert {text.get_text() for axes in (left, right) for text in axes.texts} == {"0.00"}
    (chart,) = [chart for chart in charts(collect(tmp_path).systems) if chart.id == "similarity"]
    assert {number for panel in chart.variants[0].panels for row in panel.data[0]["text"] for number in row} == {"0.00"}


def test_paper_and_page_have_the_same_colours(tmp_path):
    three(tmp_path)
    assert [style.color for style in STYLES] == [style.color for style in plots.STYLES[: len(STYLES)]]
    found = drawn(tmp_path)
    shown = {chart.id: chart.variants[0].panels[0].data[0] for chart in charts(collect(tmp_path).systems)}
    for paper_name, page_name in (("figure-5-mosi", "similarity"), ("confusion-mosi", "confusion")):
        (image,) = found[paper_name].canvas.axes[0].images
        ends = [to_hex(image.cmap(end)) for end in (0.0, 1.0)]
        scale = shown[page_name]["colorscale"]
        assert ends == [scale[0][1].lower(), scale[-1][1].lower()]


@pytest.mark.parametrize("name", ["$x$", "a$b", "$\\frac{", "100 % \\alpha_{", "电影"])
def test_a_name_is_drawn_as_it_is_and_never_read_as_a_formula(tmp_path, name):
    three(tmp_path)
    for path in tmp_path.glob("*/*/*/*/environment.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"text_encoder": name}))
    by_task = {name: 1.0, "cl": 0.5}
    for path in tmp_path.glob("*/*/full/seed-1/metrics.jsonl"):
        lines = [json.loads(line) | {"losses": by_task, "weights": by_task} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    spelled = name.replace("电影", "[U+7535][U+5F71]").replace("$", "\\$")  # so that it is printed as a dollar
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a glyph that is missing
        texts = {drawing.id.partition("-mosi")[0]: words(drawing) for drawing in drawn(tmp_path).values()}
    assert list(texts) == ALL
    assert all(f"MOSI · {spelled}" in found for found in texts.values())
    assert spelled in texts["losses"] and spelled in texts["weights"]


def test_names_of_features_may_be_any(tmp_path):
    three(tmp_path)
    names = ["text", "T_s_d", "_x", "é", "a__b", "A_d"]
    for path in tmp_path.glob("*/*/*/*/features.json"):
        path.write_text(json.dumps({"test": {"names": names, "cosine": np.eye(6).tolist()}}))
    assert "figure-5-mosi" in drawn(tmp_path)
    words(drawn(tmp_path)["figure-5-mosi"])


# --- readable -------------------------------------------------------------------------------------------------------


def test_nothing_is_told_by_colour_alone():
    for look in ("line", "marker", "hatch"):
        assert len({getattr(style, look) for style in STYLES}) == len(STYLES)


@pytest.mark.parametrize("name", ["figure-4", "weights"])
def test_lines_differ_in_grey(tmp_path, name):
    three(tmp_path)
    (axes,) = drawn(tmp_path)[f"{name}-mosi"].canvas.axes
    lines = [line for line in axes.lines if not line.get_label().startswith("_")]
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == len(lines) == 2


def test_the_numbers_in_cells_stand_out_from_them(tmp_path):
    three(tmp_path)
    found = drawn(tmp_path)
    contrasts = []
    for name in ("figure-5-mosi", "confusion-mosi"):
        for axes in found[name].canvas.axes:
            for image in axes.images:
                shown = image.cmap(image.norm(np.asarray(image.get_array())))[..., :3]
                for text in axes.texts:
                    column, row = map(round, text.get_position())
                    contrasts.append(_contrast(shown[row, column], to_rgb(text.get_color())))
    assert len(contrasts) > 2 * 6 * 6
    assert min(contrasts) > 3


def _contrast(*colors):
    def luminance(color):
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    dark, light = sorted(map(luminance, colors))
    return (light + 0.05) / (dark + 0.05)


def test_fonts_are_legible_and_nothing_leaves_the_page(tmp_path):
    three(tmp_path, dataset="sims", seed=1)
    three(tmp_path, recipe="minilm", modalities=("t", "a"), published=False)
    found = drawn(tmp_path)
    assert len(found) == 2 * len(ALL)
    for drawing in found.values():
        assert drawing.canvas.get_figwidth() in (paper.NARROW, paper.WIDE)
        drawing.canvas.canvas.draw()
        inked, (width, height) = drawing.canvas.get_tightbbox(), drawing.canvas.get_size_inches()
        assert min(inked.x0, inked.y0, width - inked.x1, height - inked.y1) > 0, drawing.id
        sizes = [text.get_fontsize() for text in drawing.canvas.findobj(Text) if text.get_text().strip()]
        assert min(sizes) >= 6.5


def test_each_rule_that_changes_weights_has_its_course_beside_gdwgs(tmp_path):
    write_run(tmp_path)
    for name in ("rlw", "uw", "equal"):
        write_run(tmp_path, variant={"equal": "no-gdwg"}.get(name, name), changes={"objective.weighting.name": name})
    write_run(tmp_path, variant="no-msc", changes=NO_MSC | {"objective.weighting.name": "gdwg"})  # other tasks
    drawing = drawn(tmp_path)["weights-mosi"]
    titles = [axes.get_title() for axes in drawing.canvas.axes if axes.get_visible()]
    assert titles == ["DMMSA", "RLW (random weights)", "UW"]
    assert "that GDWG, RLW, UW give to" in drawing.caption


def test_the_page_has_the_weights_of_every_rule(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, variant="rlw", changes={"objective.weighting.name": "rlw"})
    shown = weights.on_page(collect(tmp_path).systems).variants
    assert len(shown) == 2 and all(variant.panels for variant in shown)
