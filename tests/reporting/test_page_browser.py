"""The page in a browser: opened from disk, without a network, on a laptop and on a phone."""

import shutil
from types import SimpleNamespace

import pytest

from dmmsa_cli.data.prediction_table import read_predictions, write_predictions
from dmmsa_cli.reporting.page.page import write_page
from dmmsa_cli.reporting.report import build_report
from tests.reporting.conftest import CLIPS, write_run, write_tuning

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no test in a browser")

LAPTOP, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
LONG_IDS = [f"video_{i % 12:04}$_${i // 12:04}" for i in range(CLIPS)]
SMALL_LAPTOP = {"width": 1280, "height": 800}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TABLE = "#table-dmmsa-table-3-mosi"
NAME, DATASET = '<b>x<b> &amp; "%{y}" <img src=x onerror=alert(1)> $x$', "电影"


@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed: no test in a browser")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of real and synthetic runs, one of nothing, and one of runs with awkward names."""
    folder = tmp_path_factory.mktemp("browser")
    for seed in (1, 12):
        for task in ("", "msc", "cl"):
            variant, changes = (f"no-{task}", {f"objective.{task}.enabled": False}) if task else ("full", None)
            write_run(folder / "runs", variant=variant, seed=seed, changes=changes)
    write_run(folder / "runs", dataset="toy")
    for dataset in ("mosi", "toy"):
        write_tuning(folder / "runs", dataset=dataset)
    write_tuning(folder / "names", dataset=DATASET, name=NAME.replace("/", "|"), recipe=NAME)
    for variant, error in (("full", 0.8), (NAME, 0.9)):
        changes = {"objective.msc.enabled": False} if variant == NAME else None
        run = write_run(folder / "names", dataset=DATASET, variant=variant, error=error, changes=changes)
        table = read_predictions(run / "predictions.csv")
        write_predictions(run / "predictions.csv", table.assign(text="w" * 400, id=LONG_IDS))
    for name in ("runs", "empty", "names"):
        write_page(build_report(folder / name), folder / f"{name}.html")
    return folder


class Reader:
    """Opens each page once for each size of window (plotly's script takes a second to read), and keeps the record."""

    def __init__(self, browser, folder):
        self.browser, self.folder = browser, folder
        self.requested, self.complaints, self.pages = [], [], {}

    def __call__(self, name="runs", viewport=LAPTOP):
        key = (name, viewport["width"])
        if key not in self.pages:
            page = self.browser.new_context(viewport=viewport, offline=True, reduced_motion="reduce").new_page()
            page.on("request", lambda request: self.requested.append(request.url))
            page.on("console", lambda message: self.complaints.append(message.text))
            page.on("pageerror", lambda error: self.complaints.append(str(error)))
            page.goto((self.folder / f"{name}.html").as_uri())
            self.pages[key] = page
        return self.pages[key]


@pytest.fixture(scope="module")
def reader(browser, pages):
    return Reader(browser, pages)


@pytest.fixture
def visit(reader):
    """Open a page; whatever it asks for or complains about fails the test."""
    yield reader
    own = {(reader.folder / f"{name}.html").as_uri() for name in ("runs", "empty", "names")}
    assert reader.requested  # or it is not recorded what is asked for
    assert {address.partition("#")[0] for address in reader.requested} <= own
    assert reader.complaints == []


def drawn(page, figure):
    """Bring a figure into view and return its plots once they are drawn."""
    place = page.locator(figure)
    place.scroll_into_view_if_needed()
    place.locator("svg.main-svg").first.wait_for()
    return place


def column(page, place=1):
    return page.locator(f"{TABLE} tbody tr td:nth-child({place})").all_inner_texts()


def names(page):
    return page.locator(f"{TABLE} tbody th").all_inner_texts()


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_it_opens_and_all_plots_are_drawn(visit, viewport):
    page = visit(viewport=viewport)
    assert page.locator("table.results").first.is_visible()
    figures = page.locator("figure[data-figure]")
    assert figures.count() == 19  # all 8 on MOSI; on the toy corpus those that need no pair; three of each tuning
    for figure in figures.element_handles():
        figure.scroll_into_view_if_needed()
        figure.wait_for_selector("svg.main-svg")
    for plot in page.locator("svg.main-svg").all():
        box = plot.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 200
        assert box["x"] + box["width"] <= viewport["width"]


@pytest.mark.parametrize("name", ["runs", "empty"])
@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_page_never_scrolls_sideways(visit, name, viewport):
    page = visit(name, viewport)
    widest = page.evaluate(
        """() => {
          const closed = [...document.querySelectorAll("details:not([open])")];
          closed.forEach((one) => { one.open = true; });
          const width = document.documentElement.scrollWidth;
          closed.forEach((one) => { one.open = false; });
          return width;
        }"""
    )
    assert widest == viewport["width"]


def test_a_header_sorts_turns_and_restores(visit):
    page = visit()
    printed, header = names(page), page.locator(f"{TABLE} thead th:nth-child(2)")
    assert header.get_attribute("aria-sort") == "none"

    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    down = [text.split("/")[0] for text in column(page, 2)]
    numbers = [float(text) for text in down if text != "-"]
    assert numbers == sorted(numbers, reverse=True)
    assert down == [text for text in down if text != "-"] + ["-"] * (len(down) - len(numbers))
    assert "-" in down

    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    up = [text.split("/")[0] for text in column(page, 2)]
    assert [float(text) for text in up[: len(numbers)]] == sorted(numbers)
    assert set(up[len(numbers) :]) == {"-"}  # dashes stay last

    header.locator("button").click()
    second = [text.split()[0].split("/")[1] for text in column(page, 2)]
    known = [float(text) for text in second if text != "-"]
    assert known == sorted(known, reverse=True)
    assert second[len(known) :] == ["-"] * (len(second) - len(known))

    header.locator("button").click()
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "none"
    assert names(page) == printed


def test_the_best_comes_first_also_where_less_is_better(visit):
    page = visit()
    header = page.locator(f"{TABLE} thead th", has_text="MAE")
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"


def test_headers_are_reached_and_pressed_by_keyboard(visit):
    page = visit()
    button = page.locator(f"{TABLE} thead button").nth(1)
    page.locator(f"{TABLE} thead button").first.focus()
    page.keyboard.press("Tab")
    assert button.evaluate("(one) => one === document.activeElement")
    page.keyboard.press("Enter")
    assert page.locator(f"{TABLE} thead th").nth(1).get_attribute("aria-sort") == "descending"
    page.keyboard.press("Space")
    assert page.locator(f"{TABLE} thead th").nth(1).get_attribute("aria-sort") == "ascending"


def test_a_row_of_ours_leads_to_its_runs(visit):
    page = visit()
    page.locator(f"{TABLE} tr.ours th a").first.click()
    run = page.locator("details.run").first
    sync_api.expect(run).to_have_attribute("open", "")  # in a moment: a script opens it, which hears of the address
    run.locator("summary", has_text="Recipe").click()
    assert "position_dropout" in run.locator("pre").inner_text()
    run.locator("summary", has_text="Environment").click()
    assert "git_revision" in run.locator("dl").inner_text()


def test_clips_show_their_words_and_sort(visit):
    page = visit()
    table = page.locator("#clips table").first
    assert table.locator("tbody tr").count() == 15
    assert "<b>bold</b> & 情感" in table.locator("td.text").first.inner_text()
    table.locator("thead button", has_text="Error").click()
    errors = [float(text) for text in table.locator("td:last-child").all_inner_texts()]
    assert errors == sorted(errors, reverse=True)


def test_a_hover_tells_the_clip(visit):
    page = visit()
    figure = drawn(page, "#figures-mosi--predictions")
    assert figure.locator(".drawing").count() == 2
    figure.locator("path.point").first.hover(force=True)
    words = figure.locator(".hoverlayer").first
    words.locator("text").first.wait_for()
    assert "<b>bold</b> & 情感" in words.text_content()


def test_a_figure_can_be_shown_for_another_system(visit):
    page = visit()
    figure = drawn(page, "#figures-mosi--losses")
    assert "MSC" in figure.locator(".legend").text_content()
    figure.locator("select").select_option(label="w/o MSC · dmmsa/no-msc (2 seeds)")
    figure.locator("svg.main-svg").first.wait_for()
    assert figure.locator(".drawing").count() == 1
    assert figure.locator("option:checked").inner_text() == "w/o MSC · dmmsa/no-msc (2 seeds)"


def test_plots_offer_a_picture_and_no_upload(visit):
    page = visit()
    figure = drawn(page, "#figures-mosi--mae-by-label")
    offered = figure.locator(".modebar-btn").evaluate_all("(all) => all.map((one) => one.dataset.title)")
    assert offered == ["Download plot as a PNG", "Reset axes"]


def test_plots_follow_a_dark_scheme(visit):
    page = visit()
    figure = drawn(page, "#figures-mosi--validation")
    ground = "(one) => getComputedStyle(one).backgroundColor"
    light = figure.locator("svg.main-svg").first.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "(light) => getComputedStyle(document.querySelector('#figures-mosi--validation svg.main-svg'))"
        ".backgroundColor !== light",
        arg=light,
    )
    page.emulate_media(color_scheme="light")


def test_contents_open_on_a_phone(visit):
    page = visit(viewport=PHONE)
    listed, button = page.locator("#contents"), page.locator("button.toggle")
    assert not listed.is_visible()
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    listed.locator("a", has_text="Runs").last.click()
    assert not listed.is_visible()
    assert page.url.endswith("#runs")


def test_wide_tables_scroll_in_their_own_box(visit):
    page = visit(viewport=PHONE)
    page.locator(TABLE).evaluate("(one) => { one.open = true; }")
    box = page.locator(f"{TABLE} .scroll")
    assert box.evaluate("(one) => one.scrollWidth > one.clientWidth")
    box.evaluate("(one) => { one.scrollLeft = 200; }")
    first = SimpleNamespace(**box.locator("tbody th").first.bounding_box())
    assert first.x == pytest.approx(box.bounding_box()["x"], abs=1)  # the first column stays


@pytest.mark.parametrize("viewport", [LAPTOP, SMALL_LAPTOP], ids=["1400", "1280"])
def test_no_table_is_wider_than_its_box_on_a_laptop(visit, viewport):
    page = visit(viewport=viewport)
    wide = page.evaluate(
        """() => {
          const closed = [...document.querySelectorAll("details:not([open])")];
          closed.forEach((one) => { one.open = true; });
          const wide = [...document.querySelectorAll(".scroll")].filter((one) => one.scrollWidth > one.clientWidth)
            .map((one) => one.closest("[id]").id);
          closed.forEach((one) => { one.open = false; });
          return wide;
        }"""
    )
    assert page.locator("table.results").count() > 20
    assert wide == []


def in_sight(page, cells):
    """Whether all of some cells lie within the box that their table scrolls in."""
    return cells.evaluate_all(
        """(all) => all.every((one) => {
          const box = one.closest(".scroll").getBoundingClientRect(), cell = one.getBoundingClientRect();
          return cell.width > 20 && cell.left >= box.left - 1 && cell.right <= box.right + 1;
        })"""
    )


def test_a_phone_shows_label_and_main_metrics_and_says_that_there_is_more(visit):
    page = visit(viewport=PHONE)
    assert page.locator("#tables details[open]").first.get_attribute("id") == "table-mosi-runs"
    for table in ("#table-mosi-runs", TABLE):
        page.locator(table).evaluate("(one) => { one.open = true; }")
        page.locator(f"{table} .scroll").evaluate("(one) => { one.scrollLeft = 0; }")
        heads = page.locator(f"{table} thead th").all_inner_texts()
        assert [head.split()[0] for head in heads[:3]] == ["System", "MAE", "Corr"]
        rows = page.locator(f"{table} tbody tr")
        assert rows.count() > 2
        assert in_sight(page, page.locator(f"{table} tr > :nth-child(-n+3)"))
        assert page.locator(f"{table} .cue").is_visible()
        assert "scrolls sideways" in page.locator(f"{table} .cue").inner_text()
    page.locator(f"{TABLE} .scroll").evaluate("(one) => { one.scrollLeft = one.scrollWidth; }")
    page.wait_for_function(f"() => document.querySelector('{TABLE} .scroll').matches('.at-end')")
    page.locator(f"{TABLE} .scroll").evaluate("(one) => { one.scrollLeft = 0; }")


def test_a_phone_shows_metric_difference_and_verdict(visit):
    page = visit(viewport=PHONE)
    details = page.locator("#comparisons details").first
    details.evaluate("(one) => { one.open = true; }")
    heads = [text.strip() for text in details.locator("thead th").all_inner_texts()[:3]]
    assert heads == ["Metric", "Difference", "Verdict"]
    assert in_sight(page, details.locator("tr > :nth-child(-n+3)"))
    details.evaluate("(one) => { one.open = false; }")


def test_a_phone_shows_label_and_prediction_of_the_largest_errors(visit):
    page = visit(viewport=PHONE)
    clips = page.locator("#clips table").first
    assert [text.strip() for text in clips.locator("thead th").all_inner_texts()[:3]] == ["Clip", "Label", "Prediction"]
    assert in_sight(page, clips.locator("tr > :nth-child(-n+3)"))


def test_a_laptop_keeps_the_papers_order_and_needs_no_cue(visit):
    page = visit(viewport=LAPTOP)
    assert [text.split()[0] for text in page.locator(f"{TABLE} thead th").all_inner_texts()][-2:] == ["MAE", "Corr"]
    assert not page.locator(f"{TABLE} .cue").is_visible()


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_ids_of_clips_are_not_broken(visit, viewport):
    page = visit("names", viewport)
    heights = (
        page.locator("#clips table")
        .first.locator("tbody th")
        .evaluate_all(
            "(all) => all.map((one) => { const range = document.createRange(); range.selectNodeContents(one);"
            " return range.getClientRects().length; })"
        )
    )
    assert set(heights) == {1}


def test_a_word_without_end_pushes_no_number_away(visit):
    page = visit("names")
    table = page.locator("#clips table").first
    assert "w" * 400 in table.inner_text()
    assert table.evaluate("(one) => one.closest('.scroll').scrollWidth <= one.closest('.scroll').clientWidth")


def test_published_tables_are_folded_behind_ones_own(visit):
    page = visit()
    titles = page.locator("#tables h3").all_inner_texts()
    assert titles == ["Your own runs", "Your own runs beside published numbers", "Published numbers alone"]
    folded = page.locator("#tables details:not([open])")
    assert folded.count() > 10
    assert folded.locator("tr.ours").count() == 0
    assert page.locator("#tables details[open]:not(:has(tr.ours))").count() == 0
    assert visit("empty").locator("#tables details:not([open])").count() == 0
    assert page.locator("nav .legend").inner_text().strip() == "holds your own runs"


def test_the_numbers_of_an_interval_stand_below_it(visit):
    page = visit()
    for row in page.locator(".bar-row").all():
        label, middle, box = (row.locator(one).bounding_box() for one in (".bar-label", ".middle", ".track >> nth=0"))
        between = abs(label["x"] + label["width"] / 2 - middle["x"] - middle["width"] / 2)
        at_an_end = label["x"] < box["x"] + 12 or label["x"] + label["width"] > box["x"] + box["width"] - 12
        assert between < 2 or at_an_end
        assert box["x"] - 6 <= label["x"]
        assert label["x"] + label["width"] <= box["x"] + box["width"] + 6
    assert page.locator(".forest .axis.ticks").count() == 2 * page.locator(".forest").count()


def test_charts_fit_the_paper(visit):
    page = visit(viewport=LAPTOP)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 640, "height": 900})  # A4 less its margins, in CSS pixels; less than any window
    beyond = page.evaluate(
        """() => [...document.querySelectorAll("svg.main-svg, table")]
             .filter((one) => one.getBoundingClientRect().right > innerWidth).map((one) => one.closest("[id]").id)"""
    )
    shapes = page.evaluate(
        """() => [...document.querySelectorAll("svg.main-svg")].map((one) => one.getBoundingClientRect())
             .map(({ width, height }) => width / height)"""
    )
    page.set_viewport_size(LAPTOP)
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert beyond == []
    assert min(shapes) > 0.5


def test_printing_draws_what_was_never_seen(visit):
    page = visit(viewport={"width": 1000, "height": 700})
    filled = ".panels:has(svg.main-svg)"
    assert page.locator(filled).count() < page.locator(".panels").count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(filled).count() == page.locator(".panels").count()
    page.evaluate("dispatchEvent(new Event('afterprint'))")


def test_names_are_shown_as_they_are(visit):
    page = visit("names")
    figure = drawn(page, f"#figures-{DATASET}--mae-by-label")
    assert figure.locator(".legendtext").all_text_contents() == ["DMMSA", f"dmmsa/{NAME}"]
    figure.locator(".drawing").hover()
    hover = figure.locator(".hoverlayer .legendtext").last
    hover.wait_for()
    assert hover.text_content().startswith(f"dmmsa/{NAME} : ")
    assert page.locator("img").count() == 0
    page.locator("nav a", has_text=DATASET).last.click()
    assert page.locator(f"h3#figures-{DATASET}").is_visible()
