import math

import numpy as np
import pandas as pd
import pytest

from breakeven.analysis.ensembles import similarities
from breakeven.report import exports, similarity_parts, wording
from breakeven.report.cost_tables import convergence_tables
from breakeven.report.look import look
from breakeven.report.provenance_tables import trials_table
from breakeven.report.report import plots_of, tables_of
from breakeven.report.results import Results
from breakeven.report.table import Column, Table, plain

FACTS = {"study": "mine", "command": "python studies/scaling.py", "datasets": {}}


def tables(frame: pd.DataFrame, **facts: object) -> dict[str, Table]:
    sections = tables_of(Results(frame, FACTS | facts))
    return {table.name: table for section in sections.values() for table in section} | {"trials": trials_table(frame)}


@pytest.fixture
def pair(ledger):
    """One cell from scratch and one finetuned, two seeds each."""
    ledger.pretraining(plateau_seconds=60.0)
    for seed in (1, 2):
        ledger.trial("stop_vs_ttH", "scratch", 1000, seed, 0.7, plateau_seconds=10.0)
        ledger.trial("stop_vs_ttH", "finetune", 1000, seed, 0.7 + seed / 100, plateau_seconds=5.0)
    return ledger


@pytest.fixture(scope="module")
def whole(whole_study) -> dict[str, Table]:
    """The tables of a whole study, for tests that only read them."""
    return tables(whole_study, missing={"a/b/c/1": 2})


def test_every_column_of_every_table_says_what_it_is(whole) -> None:
    for table in whole.values():
        assert table.caption and all(table.meaning(name) for name in table.frame.columns), table.name
        assert set(table.shown.columns) <= {column.heading for column in table.columns}
    with pytest.raises(KeyError, match="table t: column 'mystery' has no meaning"):
        Table("t", "t", "c", pd.DataFrame({"mystery": []}), ()).meaning("mystery")


def test_no_shown_text_is_a_hole(whole) -> None:
    for table in whole.values():
        texts = {str(text) for text in table.shown.to_numpy().ravel()}
        assert not texts & {"nan", "<NA>", "None", "inf"}, table.name


@pytest.mark.parametrize(("capped", "told"), [([1, 2], "2 (100 %)"), ([1], "1 (50 %)"), ([], "0")])
def test_shares_of_endings_are_written_out(pair, capped, told) -> None:
    frame = pair.frame()
    frame["stopped"] = frame["seed"].map(lambda seed: "epochs" if seed in capped else "plateau")
    [endings] = [table for table in convergence_tables(Results(frame, FACTS)) if table.name == "endings"]
    assert endings.shown["at the cap"].iloc[0] == told


def test_a_csv_reads_back_below_lines_that_say_what_it_is(pair) -> None:
    pair.trial("stop_vs_ttH", "scratch", 1000, 3, 0.0, outcome="failed", reason="see #12")
    found = tables(pair.frame())
    text = exports.csv_text(found["gains"], FACTS, ["abc123"])
    head = [line for line in text.splitlines() if line.startswith("#: ")]
    assert "#: command: python studies/scaling.py" in head and "#: commit: abc123" in head
    assert any(line.startswith("#: column gain_low: lower end of the 90 % interval of test accuracy") for line in head)
    assert any("standard deviation of (treated - scratch) over n pairs" in line for line in head)
    gains = pd.read_csv(pd.io.common.StringIO(text), comment="#")
    assert gains["gain"].tolist() == pytest.approx([1.5]) and gains["n"].tolist() == [2]
    failed = pd.read_csv(pd.io.common.StringIO(exports.csv_text(found["failed"], FACTS, [])), comment="#")
    assert failed["reason"].tolist() == ["see No. 12"], "a comment sign would end the row"
    frame = pair.frame().assign(kernel="fused")
    trials = pd.read_csv(pd.io.common.StringIO(exports.csv_text(trials_table(frame), FACTS, [])), comment="#")
    assert set(trials["kernel"]) == {"fused"}


def test_latex_is_a_booktabs_table_with_nothing_left_to_escape(pair) -> None:
    text = exports.latex_text(tables(pair.frame())["gains"], FACTS, ["abc123"])
    for words in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:gains}", r"+1.5 $\pm$ 0.7 (n=2)", r"90 \%"):
        assert words in text
    odd = Table("odd", "a_b & c", "100 %", pd.DataFrame({"x": ["a_b^c & {d} #1 $2 ~ \\ ±"]}), (plain("h_1", "x"),))
    row = next(line for line in exports.latex_text(odd, FACTS, []).splitlines() if line.startswith("a"))
    assert row == r"a\_b\textasciicircum{}c \& \{d\} \#1 \$2 \textasciitilde{} \textbackslash{} $\pm$ \\"
    empty = Table("none", "t", "c", pd.DataFrame({"x": []}), (plain("x", "x"),), "Nothing here.")
    assert "% Nothing here." in exports.latex_text(empty, FACTS, [])


def test_one_seed_is_said_to_have_no_uncertainty(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 1000, 1, 0.7)
    ledger.trial("stop_vs_ttH", "finetune", 1000, 1, 0.75)
    found = tables(ledger.frame())
    assert found["gains"].shown["note"].tolist() == ["n=1: no uncertainty"]
    assert found["gains"].shown["gain, points"].tolist() == ["+5.0 (n=1)"]
    assert set(found["accuracy"].shown["note"]) == {"n=1: no uncertainty"}
    assert found["data_efficiency"].shown["note"].str.contains("n=1: no uncertainty").all()


def tables_of_gains(ledger, *gains: float) -> dict[str, Table]:
    """Of tasks where scratch has 0.6, 0.7, 0.8 at three sizes and finetuning these at the middle."""
    for number, gain in enumerate(gains):
        for size, accuracy in ((100, 0.6), (1000, 0.7), (10_000, 0.8)):
            for seed in (1, 2):
                ledger.trial(f"t{number}", "scratch", size, seed, accuracy)
                ledger.trial(f"t{number}", "finetune", size, seed, accuracy + (gain if size == 1000 else 0.01))
    return tables(ledger.frame())


def fewer_events(ledger, *gains: float) -> dict[int, str]:
    """What the summary says of these tasks, by size."""
    rows = tables_of_gains(ledger, *gains)["summary"]
    return dict(zip(rows.frame["size"], rows.shown["fewer events"], strict=True))


def test_the_median_factor_counts_what_lies_beyond_the_sizes_measured(ledger) -> None:
    found = fewer_events(ledger, 0.0, 0.05, 0.2)
    assert found[1000] == "3.2 (3 of 3 tasks)", "the finite ones alone have another median"
    assert found[10_000] == "more than 1 (3 of 3 tasks)"


@pytest.mark.parametrize(
    ("gains", "words"),
    [((0.05, 0.2, 0.2), "more than 10"), ((0.05, -0.2, -0.2), "less than 0.1"), ((0.0, -0.2), "less than 0.55"),
     ((0.0, 0.2), "more than 5.5"), ((-0.2, 0.2), "more than 5")],
)  # fmt: skip
def test_a_median_beyond_the_sizes_measured_is_a_bound(ledger, gains, words: str) -> None:
    assert fewer_events(ledger, *gains)[1000] == f"{words} ({len(gains)} of {len(gains)} tasks)"


def test_a_size_that_is_not_reached_is_never_called_zero(ledger) -> None:
    shown = tables_of_gains(ledger, -0.2, 0.2)["data_efficiency"].shown.set_index(["task", "events per class"])
    assert shown["reference matches at"][("t0", "1,000")] == "below 100"
    assert shown["reference matches at"][("t1", "1,000")] == "above 10,000"


def test_similarity_stands_beside_the_papers_and_layer_by_layer(pair) -> None:
    random = np.random.default_rng(2)
    common = random.normal(size=(30, 4))
    for row in pair.rows:
        row["representation"], row["represented_events"] = f"digest of {row['record']}", "events"
    found = similarities(pair.frame(), lambda record, digest: {
        layer: common + random.normal(size=common.shape) for layer in ("encoder", "decoder")
    })  # fmt: skip
    results = Results(pair.frame(), FACTS, similarities=lambda: found)
    table_3, layers = similarity_parts.similarity_tables(results)
    assert table_3.shown["trained"].tolist() == ["from scratch", "finetuned"]
    assert table_3.shown["published"].tolist() == ["0.87 ± 0.11", "0.79 ± 0.12"]
    assert table_3.shown["CKA with scratch"][0].endswith("(n=1)") and table_3.shown["with itself"][1] == ""
    assert layers.shown["layer"].tolist() == ["encoder", "decoder"] * 2
    panels = similarity_parts.similarity_plot(results).variants["unbiased"]
    assert [series.x for series in panels[0].series] == [(0.0, 1.0)] * 2
    scratch, tuned = panels[0].series
    assert all(math.isnan(end) for end in scratch.low + scratch.high), "one pair has no error bar"
    assert all(low < y < high for low, y, high in zip(tuned.low, tuned.y, tuned.high, strict=True))


def test_a_similarity_without_a_baseline_to_read_is_not_called_never_kept(pair) -> None:
    def read(record: str, digest: str) -> dict[str, np.ndarray]:
        raise ValueError(f"{record} cannot be read")

    for row in pair.rows:
        row["representation"], row["represented_events"] = "digest", "events"
    results = Results(pair.frame(), FACTS, similarities=lambda: similarities(pair.frame(), read))
    table_3, _ = similarity_parts.similarity_tables(results)
    assert table_3.shown["CKA with scratch"].tolist() == ["missing"] * 2
    assert table_3.shown["note"].str.contains("4 cannot be read: .*; no network from scratch can be read").all()
    assert not similarity_parts.similarity_plot(results).variants


def test_a_refused_law_shows_its_reason(pair) -> None:
    laws = tables(pair.frame())["scaling_laws"].shown
    assert set(laws["law"]) == {"refused"} and set(laws["reason or note"]) == {"1 size: a law needs 5"}
    assert set(tables(pair.frame())["accuracy_forecast"].shown["note"]) == {"1 size: a law needs 5"}


def test_two_kinds_of_device_stay_apart(pair) -> None:
    frame = pair.frame()
    frame.loc[frame["level"] == "pretraining", "device"] = "cuda"
    found = tables(frame)
    assert set(found["cost"].shown["unit"]) == {"CPU-hours", "GPU-hours"} and "summed apart" in found["cost"].caption
    even = found["break_even"].shown.set_index("charged")
    assert "not mixed" in even.loc["until the plateau", "note"]
    assert set(found["break_even"].shown["N*"]) == {"no figure"}


def test_the_papers_readings_stand_side_by_side(pair) -> None:
    readings = tables(pair.frame())["break_even_readings"].shown
    assert readings["value"].tolist() == ["25.0", "40.7"] and readings["break-even"].tolist() == [
        "25 tasks",
        "41 tasks",
    ]


def test_rows_follow_tasks_treatments_and_sizes(ledger) -> None:
    for task in ("WH_vs_ZH", "stop_vs_ttH"):
        for size in (300, 100):
            for strategy in ("frozen", "finetune", "scratch"):
                for seed in (1, 2):
                    ledger.trial(task, strategy, size, seed, 0.7)
    rows = tables(ledger.frame())["plateau"].frame
    order = list(dict.fromkeys(zip(rows["task"], rows["strategy"], rows["size"], strict=True)))
    assert order == [
        (task, strategy, size)
        for task in ("WH_vs_ZH", "stop_vs_ttH")
        for strategy in ("scratch", "finetune", "frozen")
        for size in (100, 300)
    ]


def test_columns_are_sorted_by_figures_not_by_their_words() -> None:
    table = Table(
        "t", "t", "c", pd.DataFrame({"x": [10.0, 9.0, math.nan]}), (Column("x", lambda row: f"<{row['x']}>", "x"),)
    )
    assert table.sort_keys() == {"x": ["10.0", "9.0", ""]}


def test_an_uncertainty_has_two_significant_figures_and_tasks_no_more_than_are_known() -> None:
    assert [wording.decimals(value) for value in (12.3, 9.96, 1.2, 0.43, 0.05)] == [0, 1, 1, 2, 3]
    assert wording.decimals(float("nan"), least=1) == 1 == wording.decimals(0.0, least=1)
    assert [wording.count_of_tasks(value) for value in (1, 99, 115, 4435)] == ["1", "99", "120", "4,400"]


def test_the_answer_speaks_of_the_backbone_that_validation_events_prefer(ledger) -> None:
    for pretraining, validation, test in (("multiclass", 0.7, 0.9), ("multilabel", 0.8, 0.6)):
        ledger.pretraining(pretraining)
        ledger.trial("stop_vs_ttH", "finetune", 100, 1, test, pretraining=pretraining, validation_accuracy=validation)
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.5)
    assert Results(ledger.frame(), {}).leading == "multilabel"


def test_words_of_single_figures() -> None:
    assert wording.p_value(0.00002) == "< 0.0001" and wording.p_value(0.0312) == "0.031"
    assert wording.between(1.0, math.nan) == "" and wording.between(-1.0, 2.0, sign=True) == "-1.0 to +2.0"
    assert wording.number(math.inf) == "never" and wording.rounded(4567.0) == "4,600"
    assert [wording.significant(value, 2, sign=True) for value in (118.0, -0.123, 22.4, math.nan)] == [
        "+120",
        "-0.12",
        "+22",
        "",
    ]
    assert wording.hours(0.5, "cpu_hours") == "0.500 CPU-hours" and wording.hours(pd.NA) == ""


def test_the_parts_of_an_error_stand_beside_its_interval(ledger) -> None:
    for task in ("stop_vs_ttH", "WH_vs_ZH"):
        for seed, backbone in enumerate("aabb", start=1):
            gain = 0.02 + 0.01 * (backbone == "b") + 0.001 * seed
            ledger.trial(task, "scratch", 100, seed, 0.7, test_events=2000)
            ledger.trial(task, "finetune", 100, seed, 0.7 + gain, test_events=2000, backbone=backbone)
    shown = tables(ledger.frame())
    gains = shown["gains"].shown
    parts = {name: gains[name].astype(float) for name in ("± seeds", "± backbones", "± test sample")}
    assert (parts["± test sample"] > parts["± backbones"]).all() and (parts["± backbones"] > parts["± seeds"]).all()
    assert "± test sample" in shown["accuracy"].shown
    [mean] = shown["summary"].frame.to_dict("records")
    assert mean["gain_backbone_se"] == pytest.approx(0.6, abs=0.05) and mean["gain_task_se"] == pytest.approx(
        0.0, abs=1e-9
    )
    assert mean["gain_low"] < 0.0 < mean["gain_high"], "two backbones tell little, and both tasks stand on them"


def test_backbones_and_their_scores_are_told(ledger) -> None:
    """A start that doubles the rejection, a score that drifts, and one that emerges, turned round, from scratch."""
    for seed in (1, 2):
        about = {"dataset": "d", "train_events": 1000, "seed": seed}
        ledger.pretraining("xbb", validation_auc=0.9, validation_rejection_80=5.0, backbone=f"x{seed}", **about)
        ledger.pretraining(
            "told", validation_auc=0.95, validation_rejection_80=10.0, start="x1", backbone=f"t{seed}", **about
        )
        scored = {"pretraining": "told", "test_probe_rejection_90": 7.0}
        ledger.trial("stop_vs_ttH", "frozen", 100, seed, 0.7, test_probe_auc=0.98, **scored)
        ledger.trial("stop_vs_ttH", "finetune", 100, seed, 0.7, test_probe_auc=0.95 + seed / 100, **scored)
        ledger.trial("stop_vs_ttH", "trees+score", 100, seed, 0.72, pretraining="told")
        ledger.trial("stop_vs_ttH", "trees", 100, seed, 0.71, pretraining="none")
        curve = [{"events_seen": 200, "validation_probe_auc": 0.4}, {"events_seen": 400, "validation_probe_auc": 0.1}]
        ledger.trial(
            "stop_vs_ttH", "scratch", 100, seed, 0.7, test_probe_auc=0.1, validation_probe_auc=0.1, curve=curve
        )
    found = tables(ledger.frame())
    untold, told = found["adaptation"].shown.to_dict("records")
    assert (untold["pretraining"], told["starts from"], told["factor"], told["90 %"]) == ("xbb", "xbb", "2", "2 to 2")
    assert told["learnt from"] == "1,000" and told["AUC"] == "95.00 ± 0 (n=2)"
    scratch, tuned, frozen = found["drift"].shown.to_dict("records")
    assert scratch["AUC"] == "90.00 ± 0 (n=2)" and scratch["turned"] == "2" and scratch["before"] == ""
    assert tuned["before"] == "98.00" and tuned["change"] == "-1.50 ± 0.71 (n=2)" and frozen["change"] == ""
    for name in ("adaptation", "drift"):
        assert all(found[name].meaning(column) for column in found[name].frame.columns)
    gains = found["gains"].shown
    (row,) = gains[gains["strategy"] == "boosted trees with its scores"].to_dict("records")
    assert row["pretraining"] == "told" and "trees+score told" in set(found["cost"].frame["stage"])
    spec = {"pretrainings": {"told": {"start": "xbb"}, "xbb": {"start": ""}}}
    plots = {plot.name: plot for plot in plots_of(Results(ledger.frame(), {**FACTS, "spec": spec}))}
    ((panel,),) = plots["emergence"].variants.values()
    (line,) = panel.series
    assert line.x == (1.0, 2.0) and line.y == pytest.approx((60.0, 90.0)) and line.label == "100 events per class"
    drawn = {one.pretraining: one.adapted for one in plots["accuracy"].variants["accuracy"][0].series}
    assert drawn == {"none": False, "told": True}
    assert look("told", "finetune", adapted=True).dash != look("told", "finetune").dash
