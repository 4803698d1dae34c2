import math

import numpy as np
import pytest
from ledger_builder import no_copies

from breakeven.analysis import accuracy
from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.event_scores import shared_events
from breakeven.analysis.frame import by_network


def gain_of(ledger, **wanted):
    found = accuracy.gains(ledger.frame())
    for column, value in wanted.items():
        found = found[found[column] == value]
    [row] = found.to_dict("records")
    return row


def table_of(ledger):
    frame = ledger.frame()
    return accuracy.table(accuracy.cells(frame), accuracy.gains(frame))


def test_gains_are_paired_by_seed(ledger) -> None:
    # The same gain of five points on every seed, under a spread between seeds that is far larger.
    for seed, level in ((1, 0.60), (2, 0.70), (3, 0.80)):
        ledger.trial("stop_vs_ttH", "scratch", 1000, seed, level)
        ledger.trial("stop_vs_ttH", "finetune", 1000, seed, level + 0.05)
    row = gain_of(ledger, strategy="finetune")
    assert row["gain"] == pytest.approx(5.0)
    assert row["gain_sd"] == pytest.approx(0.0, abs=1e-9)
    assert row["gain_rss"] == pytest.approx(math.hypot(10.0, 10.0))
    assert (row["n"], row["paired"], row["status"]) == (3, True, "finished")
    assert (row["published"], row["published_uncertainty"]) == (0.4, 0.2)


def test_only_shared_seeds_are_paired(ledger) -> None:
    for seed, level in ((1, 0.60), (2, 0.70)):
        ledger.trial("stop_vs_ttH", "scratch", 100, seed, level)
    for seed, level in ((2, 0.74), (3, 0.99)):
        ledger.trial("stop_vs_ttH", "finetune", 100, seed, level)
    row = gain_of(ledger, strategy="finetune")
    assert row["gain"] == pytest.approx(4.0) and row["n"] == 1 and math.isnan(row["gain_sd"])


def test_without_a_shared_seed_means_are_compared(ledger) -> None:
    for seed, level in ((1, 0.60), (2, 0.70)):
        ledger.trial("stop_vs_ttH", "scratch", 100, seed, level)
        ledger.trial("stop_vs_ttH", "finetune", 100, seed + 10, level + 0.1)
    row = gain_of(ledger, strategy="finetune")
    assert row["gain"] == pytest.approx(10.0) and not row["paired"]
    assert row["gain_sd"] == row["gain_rss"] == pytest.approx(10.0)
    assert math.isnan(row["gain_low"])


def test_a_number_that_was_selected_on_is_never_reported(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.7)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.75)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1_000_001, 0.99, phase="search", test_accuracy=0.99)
    assert gain_of(ledger, strategy="finetune")["gain"] == pytest.approx(5.0)


def test_only_the_latest_choice_of_ratio_counts(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.7)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.90, ratio=0.1)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.75, ratio=1.0)
    assert gain_of(ledger, strategy="finetune")["gain"] == pytest.approx(5.0)


def test_the_ratio_that_a_study_chose_counts_to_the_last_digits_but_one(ledger) -> None:
    """A rate over another rate is the chosen ratio but for its rounding."""
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.7, ratio=0.3)
    ledger.trial("stop_vs_ttH", "scratch", 100, 2, 0.7, ratio=0.5)
    frame = ledger.frame().assign(chosen_ratio=0.1 + 0.2)
    assert list(ledger_frame.confirmed(frame)["ratio"]) == [0.3]


def test_a_cell_says_its_ratio_from_scratch_as_finetuned_and_none_of_what_has_none(ledger) -> None:
    for strategy, ratio in (("scratch", 0.55), ("finetune", 0.24), ("trees", 1.0), ("frozen", 0.1)):
        ledger.trial("stop_vs_ttH", strategy, 100, 1, 0.7, ratio=ratio, phase="search")
        ledger.trial("stop_vs_ttH", strategy, 100, 1, 0.7, ratio=ratio)
        ledger.trial("stop_vs_ttH", strategy, 300, 1, 0.7, outcome="failed", ratio=ratio)
    ratios = accuracy.cells(ledger.frame()).set_index(["strategy", "size"])["ratio"]
    assert (ratios["scratch", 100], ratios["finetune", 100]) == (0.55, 0.24)
    assert ratios.drop([("scratch", 100), ("finetune", 100)]).isna().all()


def test_the_table_has_the_papers_layout(ledger) -> None:
    for seed, level in ((1, 0.82), (2, 0.84)):
        ledger.trial("stop_vs_ttH", "scratch", 1000, seed, level)
        ledger.trial("stop_vs_ttH", "finetune", 1000, seed, level + 0.02)
        ledger.trial("stop_vs_ttH", "frozen", 1000, seed, level - 0.01)
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.70)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.0, outcome="failed", reason="loss is NaN")
    table = table_of(ledger)
    assert list(table.columns) == [100, 1000]
    assert [quantity for _, quantity in table.index] == [
        "baseline accuracy",
        "multiclass gain",
        "multiclass frozen gain",
    ]
    assert table.loc[("stop_vs_ttH", "baseline accuracy")].tolist() == ["70.0 (n=1)", "83.0 ± 1.4 (n=2) [83.0 ± 0.2]"]
    assert table.loc[("stop_vs_ttH", "multiclass gain"), 100] == "failed (1)"
    assert table.loc[("stop_vs_ttH", "multiclass gain"), 1000].endswith("[0.4 ± 0.2]")
    assert table.loc[("stop_vs_ttH", "multiclass frozen gain"), 100] == "missing"


def test_one_seed_only_is_never_given_an_uncertainty(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.70)
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.75)
    text = table_of(ledger).to_string()
    assert "70.0 (n=1)" in text and "+5.0 (n=1)" in text and "±" not in text


def test_failures_beside_finished_trials_are_counted_and_repaired_ones_are_not(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.70)
    ledger.trial("stop_vs_ttH", "scratch", 100, 2, 0.0, outcome="failed", record="again")
    assert table_of(ledger).iloc[0, 0] == "70.0 (n=1), 1 failed"
    ledger.trial("stop_vs_ttH", "scratch", 100, 2, 0.72, record="again")
    assert table_of(ledger).iloc[0, 0] == "71.0 ± 1.4 (n=2)"


def test_a_gain_without_baseline_says_that_the_baseline_failed(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.0, outcome="failed")
    ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.75)
    table = table_of(ledger)[100]
    assert table.tolist() == ["failed (1)", "baseline failed"]


def test_a_task_of_ones_own_has_no_published_value(ledger) -> None:
    ledger.trial("mine", "scratch", 1000, 1, 0.70)
    [row] = accuracy.cells(ledger.frame()).to_dict("records")
    assert math.isnan(row["published"]) and row["cell"] == "mine/none/scratch/1000"
    assert table_of(ledger).iloc[0, 0] == "70.0 (n=1)"


def test_the_same_row_twice_counts_once(ledger) -> None:
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.70, record="r")
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.70, record="r")
    assert accuracy.cells(ledger.frame())["n"].tolist() == [1]


def test_an_empty_ledger_gives_empty_tables(ledger) -> None:
    assert accuracy.cells(ledger.frame()).empty and accuracy.gains(ledger.frame()).empty
    assert table_of(ledger).empty


def test_trees_stand_beside_scratch_and_the_paper_has_none(ledger) -> None:
    for seed in (1, 2, 3):
        ledger.trial("stop_vs_ttH", "scratch", 1000, seed, 0.80 + seed / 100)
        ledger.trial("stop_vs_ttH", "trees", 1000, seed, 0.83 + seed / 100, pretraining="none")
        ledger.trial("stop_vs_ttH", "frozen", 1000, seed, 0.81 + seed / 100)
    rows = accuracy.gains(ledger.frame()).set_index("strategy")
    assert rows.loc["trees", "gain"] == pytest.approx(3.0) and rows["published"].isna().all()
    assert list(table_of(ledger).index.get_level_values("quantity")) == [
        "baseline accuracy", "boosted trees gain", "multiclass frozen gain",
    ]  # fmt: skip
    named = ledger.frame().assign(
        network=lambda rows: rows["strategy"].map(lambda name: "" if name == "trees" else "wide")
    )
    assert set(by_network(named)["wide"]["strategy"]) == {"scratch", "trees", "frozen"} and len(by_network(named)) == 1


def test_a_backbone_that_two_networks_share_is_of_both(ledger) -> None:
    """And what it began from, but not that of a network whose trials do not use it."""
    ledger.pretraining("first", network="V", backbone="1")
    ledger.pretraining("xbb", network="V", backbone="2", start="1")
    ledger.pretraining("xbb", network="wide", backbone="3")
    for network, backbone in (("V", "2"), ("V-HLF", "2"), ("wide", "3")):
        ledger.trial("stop_vs_ttH", "finetune", 100, 1, 0.8, network=network, backbone=backbone, pretraining="xbb")
    parts = by_network(ledger.frame())
    found = {name: set(part.loc[part["level"] == "pretraining", "backbone"]) for name, part in parts.items()}
    assert found == {"V": {"1", "2"}, "V-HLF": {"1", "2"}, "wide": {"3"}}
    assert [list(by_network(part)) for part in parts.values()] == [["V"], ["V-HLF"], ["wide"]], "each is of one alone"


def scored(ledger, right: dict[str, list[list[int]]], **fields):
    """Trials of one cell by strategy, one a seed, with the events that each gets right; the gain's row.

    right: 0 or 1 for each test event, ten of each class.
    """
    kept = {}
    for strategy, seeds in right.items():
        for seed, events in enumerate(seeds, start=1):
            level = sum(events) / len(events)
            row = ledger.trial("WH_vs_ZH", strategy, 100, seed, level, test_events=20, scores="digest",
                               scored_events="e", **(fields if strategy == "finetune" else {}))  # fmt: skip
            signs = 2.0 * np.array(events) - 1.0
            kept[row["record"]] = {"signal": signs[:10], "background": -signs[10:]}
    frame = ledger.frame()
    shared = shared_events(frame, lambda record, digest: kept[record], no_copies)
    return accuracy.gains(frame, shared=shared).query("strategy == 'finetune'").iloc[0], accuracy.gains(frame).iloc[0]


def test_one_seed_says_what_the_test_sample_leaves_and_no_interval(ledger) -> None:
    """Of twenty events the finetuned network gets two right that scratch does not, and loses one: McNemar's variance."""
    scratch = [1] * 6 + [0] * 4 + [1] * 7 + [0] * 3
    tuned = [1] * 7 + [0] * 3 + [0] + [1] * 7 + [0] * 2
    found, _ = scored(ledger, {"scratch": [scratch], "finetune": [tuned]})
    difference = np.subtract(tuned, scratch)
    expected = sum(np.var(part, ddof=1) / 10 / 4 for part in (difference[:10], difference[10:]))
    assert found["gain"] == pytest.approx(5.0 * difference.sum())
    assert found["gain_test_se"] == pytest.approx(100 * math.sqrt(expected))
    assert math.isnan(found["gain_low"]) and math.isnan(found["p_value"])
    assert found["note"].startswith("n=1: no interval; only the test sample's error is known, ± ")


def test_seeds_that_err_on_the_same_events_do_not_make_the_sample_larger(ledger) -> None:
    scratch = [1] * 6 + [0] * 4 + [1] * 7 + [0] * 3
    tuned = [1] * 7 + [0] * 3 + [1] * 8 + [0] * 2
    one, bound = scored(ledger, {"scratch": [scratch] * 3, "finetune": [tuned] * 3}, backbone="b")
    assert one["gain_seed_se"] == pytest.approx(0.0, abs=1e-6) and one["gain_test_se"] > 0.0
    assert one["gain_high"] - one["gain_low"] == pytest.approx(2 * 1.645 * one["gain_test_se"], rel=1e-3)
    assert one["note"] == "one backbone: its scatter is not in the interval"
    by_counts = 0.65 * 0.35 / 20 + 0.75 * 0.25 / 20
    assert bound["gain_test_se"] == pytest.approx(100 * math.sqrt(by_counts)) and "not paired" in bound["note"]


def test_a_cell_has_the_parts_of_each_metric_and_says_what_is_missing(ledger) -> None:
    for seed, backbone in ((1, "a"), (2, "a"), (3, "b"), (4, "b")):
        ledger.trial("WH_vs_ZH", "frozen", 100, seed, 0.7 + 0.02 * (seed > 2) + 0.001 * seed, backbone=backbone)
    [row] = accuracy.cells(ledger.frame()).to_dict("records")
    assert row["accuracy_backbone_se"] > row["accuracy_seed_se"] > 0 and math.isnan(row["accuracy_test_se"])
    assert row["note"] == "the test sample's own error is not in the interval"
    [row] = accuracy.cells(ledger.frame().assign(test_events=2000.0)).to_dict("records")
    share = row["accuracy"] / 100
    assert row["accuracy_test_se"] == pytest.approx(100 * math.sqrt(share * (1 - share) / 2000))
    assert math.isnan(row["auc_test_se"]), "counts say nothing of areas"
    assert row["note"] == "no scores of single events: test sample by the binomial bound"
