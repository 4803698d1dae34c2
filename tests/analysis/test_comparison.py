"""Comparisons of two studies against figures worked out by hand, and their error rates over many made-up studies."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from ledger_builder import LedgerBuilder
from scipy import stats

from breakeven.analysis import comparison
from breakeven.analysis.comparison import ABSENT, Difference
from breakeven.study.spec import Finetuning, Study


def one_cell(accuracies, size=100, strategy="scratch", task="WH_vs_ZH", seeds=None, name="", **fields):
    """A frame with one cell: these test accuracies in percent, by seed 1, 2, 3 ..."""
    made = LedgerBuilder()
    for seed, accuracy in zip(seeds or range(1, len(accuracies) + 1), accuracies, strict=True):
        made.trial(task, strategy, size, seed, accuracy / 100, record=f"{name}{seed}", **fields)
    return made.frame()


def compared(a, b, **more):
    (row,) = comparison.cells(a, b, **more).to_dict("records")
    return row


def test_a_pair_by_seed():
    """Changes of 1, 2 and 3 points: mean 2, standard error 1/sqrt 3, t = 2 sqrt 3 with two degrees of freedom."""
    row = compared(one_cell([70, 80, 90], name="a"), one_cell([71, 82, 93], name="b"))
    assert (row["method"], row["pairs"], row["note"]) == ("paired", 3, "")
    assert (row["n_a"], row["n_b"]) == (3, 3)
    assert row["accuracy_a"] == pytest.approx(80) and row["accuracy_b"] == pytest.approx(82)
    assert row["sd_a"] == pytest.approx(10) and row["difference"] == pytest.approx(2)
    t = 2 * math.sqrt(3)
    assert row["p"] == pytest.approx(
        1 - t / math.sqrt(2 + t**2)
    )  # closed form of Student's t for two degrees of freedom
    half = 2.919986 / math.sqrt(3)  # 95 % quantile of t with two degrees of freedom, from a table
    assert (row["low"], row["high"]) == pytest.approx((2 - half, 2 + half), rel=1e-6)
    assert row["p_adjusted"] == pytest.approx(row["p"])


def test_pairs_do_not_depend_on_the_order_of_rows():
    a, b = one_cell([70, 80, 90], name="a"), one_cell([71, 82, 93], name="b")
    assert compared(a, b.iloc[::-1].reset_index(drop=True))["p"] == pytest.approx(compared(a, b)["p"])


@pytest.mark.parametrize("other", [{"dataset": "d2"}, {"seeds": [1, 2, 4]}], ids=["other data", "other seeds"])
def test_other_subsets_are_not_paired(other):
    """Welch by hand: variances 100 and 121, three each."""
    row = compared(one_cell([70, 80, 90], name="a"), one_cell([71, 82, 93], name="b", **other))
    assert (row["method"], row["pairs"], row["note"]) == ("Welch", 0, "")
    error = math.sqrt((100 + 121) / 3)
    freedom = (221 / 3) ** 2 / (((100 / 3) ** 2 + (121 / 3) ** 2) / 2)
    half = stats.t.ppf(0.95, freedom) * error
    assert (row["low"], row["high"]) == pytest.approx((2 - half, 2 + half))
    theirs = stats.ttest_ind([71, 82, 93], [70, 80, 90], equal_var=False)
    assert row["p"] == pytest.approx(theirs.pvalue)
    assert (row["low"], row["high"]) == pytest.approx(tuple(theirs.confidence_interval(0.9)))


@pytest.mark.parametrize("accuracies", [([70], [80]), ([70], [80, 81, 82])])
def test_one_seed_has_no_uncertainty(accuracies):
    a, b = accuracies
    row = compared(one_cell(a, name="a"), one_cell(b, name="b"))
    assert row["note"] == "one seed only: no uncertainty"
    assert row["difference"] == pytest.approx(np.mean(b) - 70)
    assert all(math.isnan(row[name]) for name in ("low", "high", "p", "p_adjusted"))


def test_no_spread_is_no_proof():
    row = compared(one_cell([70, 80], name="a"), one_cell([71, 81], name="b"))  # the same change for each seed
    assert row["note"] == "no spread over seeds: no test" and math.isnan(row["p"])
    row = compared(one_cell([70, 70], name="a"), one_cell([71, 71, 71], name="b"))
    assert row["method"] == "Welch" and row["note"] == "no spread over seeds: no test"


def test_no_spread_on_one_side_alone():
    row = compared(one_cell([50, 50, 50], name="a"), one_cell([71, 72, 73, 74], name="b"))
    freedom = 3  # only B varies
    assert row["p"] == pytest.approx(2 * stats.t.sf(22.5 / math.sqrt(5 / 3 / 4), freedom))


def test_trials_that_both_studies_share_are_not_tested():
    a = one_cell([70, 80, 90], name="t")
    for b in (a, one_cell([70, 80, 90, 100], name="t"), one_cell([70, 80], name="t")):
        row = compared(a, b)
        assert (row["method"], row["note"], row["pairs"]) == ("same trials", "same trials", min(3, len(b)))
        assert math.isnan(row["p"])
    elsewhere = "2026-04-01T10:00:00+00:00"  # the same identities, trained again
    again = compared(a, one_cell([70, 81, 91], name="t", started=elsewhere))
    assert again["method"] == "paired" and again["note"] == ""
    again = compared(a, one_cell([70, 80, 90], name="t", started=elsewhere))
    assert again["method"] == "paired" and again["note"] == "same results"


def test_only_confirmed_trials_count():
    a = one_cell([70, 80], name="a")
    searched = one_cell([10, 20], name="s", phase="search", strategy="scratch")
    row = compared(pd.concat([a, searched], ignore_index=True), one_cell([72, 81], name="b"))
    assert row["n_a"] == 2 and row["accuracy_a"] == pytest.approx(75)


@pytest.mark.parametrize(
    ("strategy", "said"), [("scratch", [0.5, 1.2]), ("finetune", [0.5, 1.2]), ("trees", [math.nan] * 2)]
)
def test_each_side_says_at_which_ratio(strategy, said):
    sides = [one_cell([0.7, 0.8], strategy=strategy, ratio=ratio) for ratio in (0.5, 1.2)]
    row = compared(*sides)
    assert [row["ratio_a"], row["ratio_b"]] == pytest.approx(said, nan_ok=True)


def test_failures_are_counted_beside():
    b = pd.concat(
        [one_cell([71, 82], name="b"), one_cell([0], name="f", seeds=[3], outcome="failed")], ignore_index=True
    )
    row = compared(one_cell([70, 80, 90], name="a"), b)
    assert (row["n_b"], row["failed_a"], row["failed_b"], row["method"]) == (2, 0, 1, "Welch")


def test_hours_of_a_cell_are_all_that_it_took():
    a = one_cell([70, 80], name="a", strategy="finetune", device_seconds=3600.0)
    search = one_cell([70], name="s", strategy="finetune", phase="search", device_seconds=7200.0, wasted_seconds=3600.0)
    failed = one_cell([0], name="f", seeds=[3], strategy="finetune", outcome="failed", device_seconds=3600.0)
    b = one_cell([71, 82], name="b", strategy="finetune", device_seconds=5400.0)
    row = compared(pd.concat([a, search, failed], ignore_index=True), b)
    assert (row["hours_a"], row["hours_b"], row["hours_ratio"]) == pytest.approx((6.0, 3.0, 0.5))
    assert row["unit_a"] == row["unit_b"] == "cpu_hours"


def test_hours_of_different_devices_have_no_ratio():
    row = compared(one_cell([70, 80], name="a"), one_cell([71, 82], name="b", device="cuda"))
    assert (row["unit_a"], row["unit_b"]) == ("cpu_hours", "gpu_hours") and math.isnan(row["hours_ratio"])
    mixed = pd.concat(
        [one_cell([70], name="a"), one_cell([80], name="a2", seeds=[2], device="cuda")], ignore_index=True
    )
    row = compared(mixed, one_cell([71, 82], name="b"))
    assert row["unit_a"] == "cpu_hours and gpu_hours" and math.isnan(row["hours_a"]) and math.isnan(row["hours_ratio"])


def test_cells_of_one_side_are_listed():
    a = pd.concat([one_cell([70, 80], name="a"), one_cell([75, 76], size=300, name="a3")], ignore_index=True)
    b = pd.concat([one_cell([71, 82], name="b"), one_cell([0], size=300, name="f", outcome="failed"),
                   one_cell([90], size=1000, name="b1")], ignore_index=True)  # fmt: skip
    assert comparison.cells(a, b)["size"].tolist() == [100]
    assert comparison.only_in(a, b)[["size", "n", "there"]].values.tolist() == [[300, 2, "failed"]]
    assert comparison.only_in(b, a)[["size", "n", "there"]].values.tolist() == [[1000, 1, "missing"]]
    assert comparison.only_in(a, a).empty


def test_nothing_in_common():
    a, b = one_cell([70, 80]), one_cell([70, 80], size=300)
    assert comparison.cells(a, b).empty and comparison.only_in(a, b)["size"].tolist() == [100]
    empty = LedgerBuilder().frame()
    assert comparison.cells(a, empty).empty and comparison.costs(a, empty)["useful_b"].tolist() == [0.0, 0.0]


def test_costs_keep_their_stages_and_kinds(study):
    a = study.frame()
    b = a[a["strategy"] != "frozen"].assign(device_seconds=2 * a["device_seconds"])
    table = comparison.costs(a, b).set_index(["stage", "unit"])
    assert table.loc[("pretraining multiclass", "cpu_hours"), "ratio"] == pytest.approx(2)
    frozen = table.loc[("frozen multilabel", "cpu_hours")]
    assert frozen["useful_b"] == 0.0 and frozen["ratio"] == 0.0
    assert table.index[-1] == ("all", "cpu_hours")
    parts = table.drop(index=("all", "cpu_hours"))
    assert parts["useful_a"].sum() == pytest.approx(table.loc[("all", "cpu_hours"), "useful_a"])
    only_b = comparison.costs(a[a["strategy"] != "frozen"], a).set_index("stage")
    assert math.isnan(only_b.loc["frozen multiclass", "ratio"])


def test_equal_treatments_are_rarely_called_different():
    """Of 30 pairs of studies with 4 cells that differ by chance alone, about 10 % may show any cell as changed."""
    noise, found = np.random.default_rng(3), 0
    for _ in range(30):
        sides = [
            pd.concat(
                [one_cell(noise.normal(80, 2, 3), size=size, name=f"{side}{size}") for size in (1, 2, 3, 4)],
                ignore_index=True,
            )
            for side in "ab"
        ]
        found += bool((comparison.cells(*sides)["p_adjusted"] < 0.1).any())
    assert found <= 9  # a binomial of 30 at 0.1 exceeds that for one seed in two thousand


def test_what_specifications_differ_in():
    a = dataclasses.asdict(Study(name="a"))
    b = dataclasses.asdict(Study(name="b", finetuning=Finetuning(sizes=(10,), seeds=5)))
    b["generation"]["fewer"] = {"ttH": 3}
    b["search"] = {**b["search"], "unheard": True}
    del b["network"]["engine"]
    assert comparison.specifications(a, b) == [
        Difference("name", "a", "b"),
        Difference("generation.fewer", {}, ABSENT),
        Difference("network.engine", "native", ABSENT),
        Difference("finetuning.sizes", (100, 300), (10,)),
        Difference("finetuning.seeds", 3, 5),
        Difference("generation.fewer.ttH", ABSENT, 3),
        Difference("search.unheard", ABSENT, True),
    ]
    assert comparison.specifications(a, a) == []


def test_where_records_come_from():
    events = {"level": "generation", "process": "WH", "dataset": "d1", "device": "cpu", "git_commit": "c1"}
    backbone = {"level": "pretraining", "pretraining": "multiclass", "backbone": "b1", "device": "cpu",
                "git_commit": "c1", "processor": "Xeon x 2"}  # fmt: skip
    one = {"level": "trial", "device": "cpu", "git_commit": "c1", "processor": "Xeon x 2", "versions": {"torch": "2"}}
    other = {**one, "device": "cuda", "processor": "EPYC x 64", "git_commit": "c2", "versions": {"torch": "3"}}
    assert comparison.provenance([events, backbone, one], [events, backbone, one]) == []
    found = comparison.provenance([events, backbone, one], [{**events, "dataset": "d2"}, backbone, one, other])
    assert {(one.field, one.a, one.b) for one in found} == {
        ("commit", "c1", "c1, c2"), ("dataset WH", "d1", "d2"), ("device", "cpu", "cpu, cuda"),
        ("processor", "Xeon x 2", "EPYC x 64, Xeon x 2"), ("version torch", "2", "2, 3"),
    }  # fmt: skip
    assert Difference("backbone multiclass", "b1", ABSENT) in comparison.provenance([backbone], [one])
