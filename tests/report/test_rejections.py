"""The report of a study whose figure of merit is a rejection: what passes stands beside it, and its words are its own."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from breakeven.analysis import ensembles
from breakeven.analysis.passing import passing
from breakeven.metric import METRICS
from breakeven.report.markdown import markdown_of
from breakeven.report.page import page_of
from breakeven.report.provenance_tables import trials_table
from breakeven.report.report import plots_of, tables_of
from breakeven.report.results import Results
from breakeven.report.table import Table
from breakeven.study.spec import Network, Study

NETWORKS = {"S-HLF": Network(kind="jet_transformer", representation="S+HLF"),
            "V": Network(kind="jet_transformer", representation="V")}  # fmt: skip
FACTS = {"study": "jets", "command": "make study", "datasets": {}, "versions": {}, "processor": "Xeon",
         "spec": dataclasses.asdict(Study(networks=NETWORKS))}  # fmt: skip
MERIT = METRICS["rejection_90"]


@pytest.fixture(scope="module")
def results() -> Results:
    """Two networks that share a backbone; the signal has two masses, the background a heavy and a light slice."""
    from ledger_builder import LedgerBuilder

    made, kept, random = LedgerBuilder(), {}, np.random.default_rng(2)
    made.pretraining("xbb", network="S-HLF", backbone="b")
    for network, apart in (("S-HLF", 0.0), ("V", 0.3)):
        for strategy, better in (("scratch", 0.0), ("finetune", 1.0), ("frozen", 0.5)):
            for size in (100, 300):
                for seed in (1, 2):
                    shift = 1.5 + better + apart + 0.3 * np.log10(size)
                    scores = {"signal": random.normal(shift, 1.0, 400), "background": random.normal(0.0, 1.0, 500)}
                    cut = np.sort(scores["signal"])[40]
                    rejection = 500 / max(1, (scores["background"] >= cut).sum())
                    about = {"pretraining": "none" if strategy == "scratch" else "xbb", "network": network,
                             "backbone": "" if strategy == "scratch" else "b", "scores": "hash", "scored_events": "e",
                             "test_events": 900, "test_rejection_90": rejection}  # fmt: skip
                    row = made.trial("HH4b_vs_QCD", strategy, size, seed, 0.9, **about)
                    kept[row["record"]] = {name: one.astype(np.float16) for name, one in scores.items()}
    events = [SimpleNamespace(processes=("HH4b_600", "HH4b_1000"), process=np.repeat([0, 1], 200), weight=np.ones(400)),
              SimpleNamespace(processes=("heavy", "light"), process=np.repeat([0, 1], 250),
                              weight=np.repeat([1e3, 1.0], 250))]  # fmt: skip
    frame = made.frame().assign(validation_rejection_90=np.nan)
    passed = passing(frame, lambda record, digest: kept[record], lambda record, n_kept: events)
    alike = ensembles.NONE.assign(network="")
    return Results(frame, FACTS, merit=MERIT, passing=lambda: passed, similarities=lambda: alike)


@pytest.fixture(scope="module")
def tables(results: Results) -> dict[str, Table]:
    return {table.name: table for section in tables_of(results).values() for table in section}


def test_every_rejection_stands_beside_the_events_that_pass(results, tables) -> None:
    cells = tables["accuracy"].shown
    assert cells["background passing"].str.fullmatch(r"\d+( to \d+)? of 500").all() and len(cells) == 12
    plots = {plot.name: plot for plot in plots_of(results)}
    hovers = {name: [text for panels in plots[name].variants.values() for panel in panels for line in panel.series
                     for text in line.texts] for name in ("headline", "rejection", "by_process")}  # fmt: skip
    for name, texts in hovers.items():
        assert texts and all("of 500" in text and text.endswith("background events pass)") for text in texts), name
    entries = tables["table_1"].shown.set_index("quantity")["300"]
    assert entries[f"baseline {MERIT.title}"].str.contains(r"\(n=2\) \[\d+ to \d+ of 500\]").all()
    assert not entries["xbb gain"].str.contains("of 500").any()
    first = tables["headline"].shown[tables["headline"].shown["events per class"] == "300"].set_index("network")
    of_networks = cells[(cells["strategy"] == "finetuned") & (cells["events per class"] == "300")].set_index("network")
    for network, counts in of_networks["background passing"].items():
        assert first["finetuned"][network].endswith(f" ({counts})"), "each network's own"
    assert all(panel.y_log for name in hovers for panels in plots[name].variants.values() for panel in panels)
    assert "of 500 background events pass)" in markdown_of(results, tables, pictures=False).split("## In detail")[0]


def test_weighted_and_unweighted_stand_side_by_side_with_effective_numbers(tables) -> None:
    rows = tables["rejection"].shown
    at_90 = rows[rows["quantity"] == MERIT.title]
    assert (at_90["counted"] == "by cross section").sum() == (at_90["counted"] == "").sum() == 12
    effective = at_90.loc[at_90["counted"] != "", "effective"].astype(float)
    most = at_90.loc[at_90["counted"] != "", "passing"].str.extract(r"(\d+) of")[0].astype(float)
    assert (effective > 0).all() and (effective < most).all(), "half of the events are all of the cross section"


def test_each_mass_has_its_rejection_at_the_largest_size(results, tables) -> None:
    shown = tables["by_process"].shown
    assert set(shown["signal"]) == {"HH4b_600", "HH4b_1000"} and set(shown["events per class"]) == {"300"}
    [panel] = next(plot for plot in plots_of(results) if plot.name == "by_process").variants["V"]
    assert panel.x_title == "N of the signal HH4b_N" and panel.x_ticks == (600.0, 1000.0)
    assert {series.x for series in panel.series} == {(600.0, 1000.0)}


def test_published_figures_are_those_of_the_networks_representation(tables) -> None:
    table = tables["published_rejections"]
    assert "second-hand" in table.caption and "published, second-hand" in table.shown
    found = table.frame[table.frame["quantity"] == MERIT.title]
    values = found.pivot_table(index="network", columns="strategy", values="published_value")
    assert values.loc["S-HLF"].to_dict() == {"finetune": 550, "frozen": 350, "scratch": 540}
    assert values.loc["V"].to_dict() == {"finetune": 680, "frozen": 170, "scratch": 590}
    over = tables["data_efficiency"].shown
    assert set(over["reference"]) == {"from scratch", "frozen"}


def test_the_words_are_those_of_a_rejection_and_of_no_other_paper(results, tables) -> None:
    plots = plots_of(results)
    page = page_of(results, tables_of(results), trials_table(results.frame, MERIT), {plot.name: plot for plot in plots})
    text = markdown_of(results, tables, pictures=False)
    assert f"<h3>{MERIT.heading}</h3>" in page and f"## {MERIT.heading}" in text
    captions = " ".join([*(table.caption for table in tables.values()), *(plot.caption for plot in plots)])
    assert "Table 1" not in captions and "It prints 41" not in page + text and "plain number" not in captions
    assert "break_even_readings" not in tables and "similarity" not in tables
    assert all(table.meaning(name) for table in tables.values() for name in table.frame.columns)
    texts = {str(cell) for table in tables.values() for cell in table.shown.to_numpy().ravel()}
    assert not texts & {"nan", "<NA>", "None", "inf"}


def test_a_study_whose_scores_are_not_here_says_nothing_of_what_passes(results) -> None:
    bare = dataclasses.replace(results, passing=Results(pd.DataFrame(), {}).passing)
    found = {table.name: table for section in tables_of(bare).values() for table in section}
    assert "background passing" not in found["accuracy"].shown and "by_process" not in found
    assert "background passing" not in found["published_rejections"].shown
    assert found["rejection"].shown["value"].str.contains("n=2").all()
