"""A large report, measured, and opened in Chromium as a reader does: no error, nothing beyond the screen, all that moves.

Screenshots go to the folder in BREAKEVEN_SCREENSHOTS where that is set.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright
from synthetic_ledger import synthetic_frame

from breakeven.report.report import write_report
from breakeven.report.results import Results
from breakeven.study.spec import Study

pytestmark = pytest.mark.slow
FACTS = {
    "study": "synthetic", "spec": dataclasses.asdict(Study()), "command": "python studies/scaling.py", "git_commit": "abc",
    "versions": {"torch": "2.13.0"}, "processor": "Xeon x 2", "datasets": {},
    "mlflow": {"address": "http://127.0.0.1:5000", "experiment": "7"},
}  # fmt: skip
MEASURED = """
    import json, resource, sys, time
    from pathlib import Path
    from report.test_opened import FACTS
    from synthetic_ledger import synthetic_frame
    from breakeven.report.report import write_report
    from breakeven.report.results import Results
    frame = synthetic_frame()
    start = time.process_time()
    path = write_report(Results(frame, FACTS), Path(sys.argv[1]))
    seconds = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trials = int((frame["level"] == "trial").sum())
    print(json.dumps({"trials": trials, "cpu_seconds": seconds, "rss_kib": memory, "bytes": path.stat().st_size}))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"no Chromium: apt-get install chromium, or playwright install chromium ({error.message[:80]})")
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller study of the same shape: 800 confirming trials, three ratios a cell."""
    return write_report(Results(synthetic_frame(seeds=4, epochs=8, ratios=4), FACTS), tmp_path_factory.mktemp("report"))


def test_five_thousand_trials_take_under_a_minute_of_cpu_and_two_gigabytes(tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), *filter(None, sys.path)])}
    command = [sys.executable, "-c", textwrap.dedent(MEASURED), str(tmp_path / "report")]
    asked = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    found = json.loads(asked.stdout.splitlines()[-1])
    print(found)
    assert found["trials"] >= 4900
    assert found["cpu_seconds"] < 60 and found["rss_kib"] < 2 * 2**20 and found["bytes"] < 10e6


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_offline_without_an_error_on_every_screen(browser, report, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(request.url))
    page.goto(report.as_uri())
    see_all(page)
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "only tables scroll sideways"
    drawn = page.evaluate(
        "[...document.querySelectorAll('.drawing')].map((one) => one.querySelectorAll('.main-svg').length)"
    )
    assert len(drawn) > 30 and min(drawn) >= 1
    if folder := os.environ.get("BREAKEVEN_SCREENSHOTS"):
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=Path(folder) / f"report_{width}_{scheme}.png", clip={"x": 0, "y": 0, "width": width, "height": 4000},
                        full_page=True)  # fmt: skip
    context.close()


def see_all(page: Page) -> None:
    """Bring every plot into view, as a reader who scrolls, and wait until it is drawn."""
    for figure in page.locator("figure.plot").all():
        figure.scroll_into_view_if_needed()
        figure.locator(".main-svg").first.wait_for(state="attached")


@pytest.fixture
def opened(browser, report) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, color_scheme="light", offline=True)
    page = context.new_page()
    page.goto(report.as_uri())
    yield page
    context.close()


def test_tables_are_sorted_by_figures_and_filtered(opened: Page) -> None:
    table = opened.locator("#table-gains")
    head = table.get_by_role("button", name="gain, points")
    place = head.evaluate("(button) => button.parentElement.cellIndex")
    read = (
        f"(table) => [...table.querySelectorAll('tbody tr')].map((row) => parseFloat(row.cells[{place}].textContent))"
    )
    for direction in (1, -1):
        head.click()
        shown = [direction * value for value in table.evaluate(read)]
        assert shown == sorted(shown) and len(set(shown)) > 20
    table.locator(".filter").fill("stop frozen 20,000")
    left = table.locator("tbody tr:not([hidden])").all_text_contents()
    assert len(left) == 2 and all("stop vs ttH" in row and "frozen" in row for row in left)


def test_a_point_leads_to_its_trials_and_to_mlflow_at_an_address_of_ones_own(opened: Page) -> None:
    opened.locator("#mlflow").fill("http://mlflow.example:8080/")
    opened.locator("#mlflow").dispatch_event("change")
    figure = opened.locator("#plot-accuracy")
    figure.scroll_into_view_if_needed()
    drawing = figure.locator(".drawing").first
    drawing.locator(".points path").first.wait_for(state="attached")
    cell = drawing.evaluate(
        """(drawing) => {
        const trace = drawing.data.findIndex((one) => one.name === "from scratch");
        drawing.emit("plotly_click", { points: [{ data: drawing.data[trace], pointNumber: 2 }] });
        return drawing.data[trace].meta[2];
    }"""
    )
    outside = figure.locator(".picked a", has_text="MLflow").get_attribute("href")
    assert outside.startswith("http://mlflow.example:8080/#/experiments/7/runs?searchFilter=")
    figure.locator(".picked a", has_text="trials").click()
    place = opened.locator(f"#trials-{cell.replace('/', '-')}")
    place.locator("tbody tr").first.wait_for(state="visible")
    assert place.locator("tbody tr").count() == 4


def test_a_choice_a_legend_and_the_theme_change_the_plots(opened: Page) -> None:
    figure = opened.locator("#plot-curves_hours")
    figure.scroll_into_view_if_needed()
    figure.locator(".main-svg").first.wait_for(state="attached")
    choices = figure.locator("option").all_text_contents()
    assert choices == ["20,000", "10,000", "5,000", "2,000", "1,000", "500", "200", "100"]
    ends = "(drawing) => Math.max(...drawing.data.flatMap((trace) => trace.x))"
    before = figure.locator(".drawing").first.evaluate(ends)
    figure.locator("select").select_option("100")
    assert figure.locator(".drawing").first.evaluate(ends) < before / 10
    lines = "(drawing) => drawing.data.filter((trace) => trace.name).map((trace) => [trace.name, trace.line.color])"
    first = dict(figure.locator(".drawing").first.evaluate(lines))
    figure.get_by_role("button", name="from scratch").click()
    assert first.keys() - dict(figure.locator(".drawing").first.evaluate(lines)).keys() == {"from scratch"}
    opened.locator("#theme").click()
    assert opened.evaluate("document.documentElement.dataset.theme") == "dark"
    now = dict(figure.locator(".drawing").first.evaluate(lines))
    assert now["multiclass, finetuned"] != first["multiclass, finetuned"]


def test_it_prints_every_plot(opened: Page, tmp_path: Path) -> None:
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    undrawn = opened.locator("figure.plot").evaluate_all(
        "(all) => all.filter((one) => !one.querySelector('.main-svg')).length"
    )
    assert undrawn == 0
    opened.pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").stat().st_size > 100_000
