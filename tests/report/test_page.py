import dataclasses
import json
import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

from breakeven.report import links
from breakeven.report.page import page_of
from breakeven.report.provenance_tables import trials_table
from breakeven.report.report import plots_of, tables_of
from breakeven.report.results import Results
from breakeven.study.spec import Study

FACTS = {
    "study": "mine", "spec": dataclasses.asdict(Study()), "command": "python studies/scaling.py", "git_commit": "abc",
    "versions": {"torch": "2.13.0"}, "processor": "Xeon x 2", "datasets": {},
    "mlflow": {"address": "http://tracking.example:5000", "experiment": "7"},
}  # fmt: skip


def page(frame, **facts) -> str:
    results = Results(frame, FACTS | facts)
    plots = {plot.name: plot for plot in plots_of(results)}
    return page_of(results, tables_of(results), trials_table(results.frame), plots)


@pytest.fixture(scope="module")
def written(whole_study):
    return page(whole_study)


def test_the_page_has_its_sections_in_order_and_needs_nothing_from_outside(written) -> None:
    assert re.findall(r"<h2>(.*?)</h2>", written) == ["In detail", "Evidence", "Cost", "Method", "Provenance"]
    head = written[: written.index("<script>")]
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"(?!data:)https?:", head), (
        "nothing is loaded from elsewhere"
    )
    assert len(written) < 7e6  # of which plotly.js is five


def test_every_row_of_a_cell_leads_to_its_trials_seeds_hashes_and_to_mlflow(written, whole_study) -> None:
    places = set(re.findall(r'<details class="cell" id="([^"]+)"', written))
    wanted = set(re.findall(r'href="#(trials-[^"]+)"', written))
    assert wanted and wanted <= places
    assert len(places) == whole_study.loc[whole_study["level"] == "trial", "cell"].nunique()
    trials = whole_study[whole_study["level"] == "trial"]
    assert all(f"<td>{record}<td>" in written for record in trials["record"])
    addresses = [unescape(found) for found in re.findall(r'class="mlflow" href="([^"]+)"', written)]
    assert all(
        found.startswith("http://tracking.example:5000/#/experiments/7/runs?searchFilter=") for found in addresses
    )
    asked = {unquote(found.split("searchFilter=")[1]) for found in addresses}
    assert "tags.cell = 'stop_vs_ttH/multiclass/finetune/100' AND tags.level = 'trial'" in asked
    assert "tags.cell LIKE 'stop_vs_ttH/multiclass/finetune/%' AND tags.level = 'trial'" in asked, (
        "a law is of a family"
    )


def test_without_mlflow_there_are_no_links_to_it_and_the_page_says_how_to_get_them(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 1000, 1, 0.7)
    text = page(ledger.frame(), mlflow={"address": "http://127.0.0.1:5000", "experiment": ""})
    assert 'class="mlflow"' not in text and "not reached when this page was made" in text


def test_what_is_missing_or_failed_is_said_at_the_top(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 1000, 1, 0.0, outcome="failed", reason="<b>loss</b> is NaN")
    text = page(ledger.frame(), missing={"a/b/c/1": 2})
    top = text[: text.index('id="details"')]
    assert "2 trials are missing" in top and "1 failed" in top
    assert "&lt;b&gt;loss&lt;/b&gt; is NaN" in text, "words of others are text, never markup"
    assert "No cell has both a scratch and a finetuned trial yet." in text


def test_the_first_screen_is_five_sentences_one_picture_and_one_table(written) -> None:
    first = written[written.index('<section id="answer">') : written.index('<section id="details">')]
    assert 1 <= first.count('<p class="headline">') <= 5
    assert re.findall(r'data-plot="(.*?)"', first) == ["headline"]
    assert re.findall(r'class="table" id="(.*?)"', first) == ["table-headline"]
    before = first[: first.index('data-plot="headline"')]
    assert "<table" not in before and before.count('<p class="headline">') == first.count('<p class="headline">')


def test_figures_are_the_tables_and_infinite_ones_are_left_out(written, whole_study) -> None:
    plots = json.loads(re.search(r'id="plots">(.*?)</script>', written, re.DOTALL)[1])
    assert set(plots) >= {"accuracy", "gain", "break_even", "convergence", "curves_events", "curves_hours", "cost"}
    [[words, panels], *_] = plots["accuracy"]["variants"]
    stop = next(panel for panel in panels if panel["title"] == "stop vs ttH")
    scratch = next(series for series in stop["series"] if series["label"] == "from scratch")
    confirmed = whole_study[(whole_study["task"] == "stop_vs_ttH") & (whole_study["strategy"] == "scratch")]
    means = 100 * confirmed.groupby("size")["test_accuracy"].mean()
    assert words == "accuracy" and scratch["y"] == pytest.approx(means.tolist(), rel=1e-4)
    assert scratch["cells"][0] == "stop_vs_ttH/none/scratch/100" and "(n=3)" in scratch["texts"][0]


def test_anchors_agree_between_page_and_script() -> None:
    script = (Path(links.__file__).parent / "page.js").read_text()
    assert r"`trials-${cell.replace(/[^A-Za-z0-9_]+/g, " in script
    assert links.anchor("stop_vs_ttH/multiclass/finetune/100") == "trials-stop_vs_ttH-multiclass-finetune-100"
