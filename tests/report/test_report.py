import dataclasses
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ledger_builder import LedgerBuilder

from breakeven.report import headline, sentences
from breakeven.report.markdown import markdown_of
from breakeven.report.report import tables_of, write_report
from breakeven.report.results import Results
from breakeven.report.sentences import summary_lines
from breakeven.study.spec import Pretraining, Study


def short(results: Results) -> str:
    """The short text, without the pictures, which take longest."""
    tables = {table.name: table for section in tables_of(results).values() for table in section}
    return markdown_of(results, tables, pictures=False)


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    def manifest(source: str, note: str = "") -> dict[str, Any]:
        return {"source": source, "events": 5000, "cross_section_pb": 0.36, "hash": f"hash_{source}", "note": note}

    return {
        "study": "laptop",
        "spec": dataclasses.asdict(Study(pretraining=Pretraining(("multiclass", "multilabel"), epochs=15, patience=0))),
        "command": "make study",
        "git_commit": "abc123",
        "versions": {"torch": "2.13.0"},
        "processor": "Xeon x 2",
        "datasets": {
            "ttH": manifest("pythia"),
            "ttt": manifest("lhe", "from elsewhere"),
            "tttt": {
                **manifest("hard_events"),
                "hard_events": 2500,
                "splits": {"test": {"events": 1250, "hard_events": 620, "effective": 610.5}},
            },
        },
    }


def fill(ledger, *, gain: float = 0.05, finetuning: float = 4.0, size: int = 1000) -> None:
    ledger.pretraining(plateau_seconds=60.0, device_seconds=60.0)
    times = {"scratch": 10.0, "finetune": finetuning}
    for task in ("stop_vs_ttH", "WH_vs_ZH", "FCNC_vs_tHq"):
        for seed in (1, 2, 3):
            level = 0.7 + seed / 100
            for strategy, seconds in times.items():
                more = gain + seed / 1000 if strategy == "finetune" else 0.0
                ledger.trial(task, strategy, size, seed, level + more, plateau_seconds=seconds, device_seconds=seconds)


@pytest.fixture(scope="module")
def written(facts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole report of a filled ledger, for tests that only read it."""
    ledger = LedgerBuilder()
    fill(ledger)
    return write_report(Results(ledger.frame(), facts), tmp_path_factory.mktemp("report") / "runs" / "laptop")


def test_the_report_answers_with_its_evidence(written: Path) -> None:
    path = written
    assert path.name == "index.html"
    text = path.with_name("report.md").read_text()
    assert (
        "At 1,000 events per class finetuning (multiclass) reaches **77.2 %**, training from scratch **72.0 %** (mean of 3 "
        "tasks).\n\nOver training from scratch that gains +5.2 points (90 %: +5.2 to +5.2) at 1,000 events, significant in 3 of "
        "3 cells (corrected over 3: stop vs ttH at 1,000, WH vs ZH at 1,000 and FCNC vs tHq at 1,000).\n\n"
        "Pretraining took 1 min of device time, which against training from scratch is saved again **after 10 tasks** at 1,000 "
        "events (90 %: 10)." in text
    )
    assert "finetuning gains +5.2 points over scratch on average" in text
    assert "| stop vs ttH | baseline accuracy | 72.0 ± 1.0 (n=3) [83.0 ± 0.2] |" in text
    assert "+5.2 ± 0.1 (n=3) [0.4 ± 0.2]" in text
    assert "25 tasks" in text and "40.7" in text, "the paper's figures by both readings"
    assert "ttt: your LHE files, 5,000 events" in text and "hash_lhe`; from elsewhere" in text
    assert "`abc123`" in text and "make study" in text and "torch 2.13.0" in text
    assert "| GPU-hours |" not in text, "nothing ran on a GPU"
    assert not re.search(r"\bnan\b|<NA>|\binf\b", text, re.IGNORECASE)
    assert path.with_name("headline.png").exists()


def test_each_table_lies_beside_as_csv(written: Path) -> None:
    folder = written.parent
    gains = pd.read_csv(folder / "gains.csv", comment="#")
    assert gains["gain"].tolist() == pytest.approx([5.2] * 3)
    even = pd.read_csv(folder / "break_even.csv", comment="#").set_index("charged")["tasks"]
    assert even["until the plateau"] == 10 and even["until the end, with search"] == 10
    tables = {path.stem for path in folder.glob("*.csv")}
    assert tables == {path.stem for path in folder.glob("*.tex")}
    assert tables == {
        "headline", "summary", "savings", "endings", "table_1", "accuracy", "gains", "rejection", "data_efficiency",
        "scaling_laws", "accuracy_forecast", "catch_up", "back_test", "ratios_used", "ratio_optima",
        "ratio_optima_pooled", "break_even", "break_even_forecast", "break_even_readings", "convergence", "plateau",
        "hours_forecast", "similarity", "similarity_layers", "cost", "accounts", "price", "samples", "pretrainings",
        "failed", "missing", "trials",
    }  # fmt: skip


def test_rates_from_scratch_stand_beside_the_ratios_of_finetuning(ledger, facts) -> None:
    fill(ledger)
    ledger.trial("stop_vs_ttH", "scratch", 100, 1, 0.7, ratio=0.55)
    ledger.trial("stop_vs_ttH", "trees", 100, 1, 0.7, pretraining="none")
    text = short(Results(ledger.frame(), facts))
    assert "from scratch, rate over the published one." in text
    for row in (
        "| stop vs ttH | none | from scratch | 0.55 | 1 |",
        "| stop vs ttH | multiclass | finetuned |  | 0.1 |",
    ):
        assert row in text
    assert "| stop vs ttH | none | boosted trees | 1 |" not in text


def test_distinct_hard_events_stand_beside_events(written: Path) -> None:
    assert (
        "- tttt: shipped parton-level sample, 5,000 events of 2,500 hard events, dataset"
        in written.with_name("report.md").read_text()
    )
    samples = pd.read_csv(written.parent / "samples.csv", comment="#").set_index("process")
    counted = samples.loc["tttt", ["hard_events", "test_events", "test_hard_events", "test_effective"]]
    assert counted.tolist() == [2500, 1250, 620, 610.5]
    assert samples.loc["ttH", ["hard_events", "test_events"]].isna().all()


def test_where_pretraining_does_not_win_the_report_says_so_and_why(ledger, facts, tmp_path: Path) -> None:
    fill(ledger, gain=-0.05)
    text = short(Results(ledger.frame(), facts))
    assert "significantly on 0 of 3 tasks, and significantly worse on 3; the mean is above zero on 0." in text
    assert "At the smallest size multiclass does not win on most tasks: the multiclass backbone itself" in text


@pytest.mark.parametrize(
    ("levels", "gains", "reason"),
    [
        ((0.70, 0.71, 0.72), (-0.02, 0.03, -0.02), "1 of the 1 losses lie within their 90 % interval of zero"),
        (
            (0.50, 0.51, 0.50),
            (-0.01, -0.02, -0.01),
            "at this size WH vs ZH is near chance with and without pretraining",
        ),
        ((0.70,), (-0.01,), "a loss on one seed has no uncertainty"),
    ],
)
def test_the_reason_comes_from_the_numbers(ledger, facts, levels, gains, reason: str) -> None:
    for seed, (level, gain) in enumerate(zip(levels, gains, strict=True), start=1):
        ledger.trial("WH_vs_ZH", "scratch", 1000, seed, level)
        ledger.trial("WH_vs_ZH", "finetune", 1000, seed, level + gain)
    assert reason in short(Results(ledger.frame(), facts))


def test_a_whole_study_is_answered_size_by_size(whole_study, facts) -> None:
    results = Results(whole_study, facts)
    text = short(results)
    assert "**multiclass**, 100 events per class: finetuning gains +6." in text
    for gain, after in (("", "Over training from scratch that gains +"), (" points (90 %", "is saved again **after ")):
        told = text[text.index(after) :].partition("\n")[0]
        places = [told.index(f" at {size}{gain and ' events'}") for size in ("1,000", "300", "100")]
        assert places == sorted(places), told
    assert "chosen on (whether the recipe was found on them is for the study's author to say)" in text
    assert "One backbone of multiclass, multilabel: no interval contains the scatter of pretraining seeds" in text
    lines = summary_lines(results)
    assert "  multilabel all sizes      23 tasks (90 %: 23)" in lines
    assert next(line for line in lines if "multiclass finetune" in line).split()[2::2] == ["100", "300", "1,000"]


def test_where_it_saves_nothing_the_report_says_never(ledger, facts, tmp_path: Path) -> None:
    fill(ledger, finetuning=12.0)
    results = Results(ledger.frame(), facts)
    text = short(results)
    assert "which against training from scratch is **never saved** at 1,000 events (90 %: never)." in text
    assert "after never" not in text
    assert any("never" in line for line in summary_lines(results))


def test_a_capped_baseline_is_detected_and_named_and_nothing_is_claimed_on_it(ledger, facts) -> None:
    fill(ledger)
    frame = ledger.frame()
    trained = frame["level"] == "trial"
    frame["stopped"] = "plateau"
    told = short(Results(frame, facts))
    assert (
        "\n\nOf 18 reported trainings 0 % ended at their cap of epochs (of 1 pretraining none), and 0 % ended at chance"
        in told
    )
    frame.loc[trained & (frame["strategy"] == "scratch") & (frame["seed"] == 1), "stopped"] = "epochs"
    capped = Results(frame, facts)
    text = short(capped)
    assert "**No headline: 3 of 18 reported trainings (17 %) ended at their cap of epochs, not at a plateau**" in text
    assert "raise --finetuning.epochs and --finetuning.steps" in text
    for claim in ("saved again", "gains +", "## In detail"):
        assert claim in told and claim not in text.partition("## Accuracy")[0], claim
    assert "| multiclass | 1,000 | 77.2 | 72.0 | 10 tasks | 10 | 3 of 3 |" in text, "the tables stay"
    assert any("No headline: 3 of 18" in line for line in summary_lines(capped))


def test_a_capped_pretraining_gives_no_break_even(ledger, facts) -> None:
    fill(ledger)
    frame = ledger.frame().assign(stopped="plateau")
    frame.loc[frame["level"] == "pretraining", "stopped"] = "epochs"
    text = short(Results(frame, facts))
    assert "**No break-even**: 1 of 1 pretrainings ended at their cap of epochs" in text
    assert "raise --pretraining.epochs" in text and "saved again" not in text.partition("## Accuracy")[0]
    assert "that gains +5.2 points" in text, "an accuracy is what it is on whatever backbone"


def test_a_break_even_is_loud_only_where_its_interval_ends(ledger, facts) -> None:
    """One task has no interval; tasks that differ in sign have one that reaches never."""
    ledger.pretraining(device_seconds=60.0)
    for task, tuned in (("stop_vs_ttH", 2.0), ("WH_vs_ZH", 4.0), ("FCNC_vs_tHq", 11.0)):
        for seed in (1, 2):
            ledger.trial(task, "scratch", 100, seed, 0.7, device_seconds=10.0)
            ledger.trial(task, "finetune", 100, seed, 0.8, device_seconds=tuned)
    frame = ledger.frame()
    text = short(Results(frame, facts))
    assert "is not shown to be saved at 100 events (90 %: 5 to never)." in text and "14 tasks at" not in text
    assert "| 2 of 3 |" in text and "**after" not in text
    one = short(Results(frame[frame["task"].isin(["stop_vs_ttH", ""])], facts))
    assert (
        "is saved again after 8 tasks at 100 events, by one task, which has no interval." in one
        and "**after" not in one
    )


def test_a_verdict_has_one_word(ledger, facts) -> None:
    """A mean that saves nothing, with an interval that reaches numbers, or none: in the answer, the tables and the summary."""
    ledger.pretraining(device_seconds=60.0)
    for task, tuned in (("stop_vs_ttH", 2.0), ("WH_vs_ZH", 4.0), ("FCNC_vs_tHq", 30.0)):
        for seed in (1, 2):
            for strategy, seconds in (("scratch", 10.0), ("finetune", tuned), ("trees", 10.0)):
                pretraining = "multiclass" if strategy == "finetune" else "none"
                ledger.trial(task, strategy, 100, seed, 0.7, device_seconds=seconds, pretraining=pretraining)
    whole = ledger.frame()
    for tasks, said, verdict in (
        (["stop_vs_ttH", "WH_vs_ZH", "FCNC_vs_tHq"], "is not shown to be saved at 100 events (90 %: ", "not shown"),
        (["FCNC_vs_tHq"], "is never saved at 100 events, by one task, which has no interval", "never"),
    ):
        results = Results(whole[whole["task"].isin([*tasks, ""])], facts)
        assert short(results).count(said) == 2, "against scratch and against the better baseline"
        assert set(results.by_headline["text"]) == {verdict}
        [headline], *_ = tables_of(results).values()
        assert headline.shown["N*"].tolist() == [verdict] and headline.shown["against trees"][0].startswith(verdict)
        assert any(f"multiclass 100 events     {verdict}" in line for line in summary_lines(results))


def test_trees_stand_in_the_first_sentence_and_beside_break_even(ledger, facts) -> None:
    """Trees are better than finetuning on WH, worse on the other two."""
    fill(ledger)
    for task, level in (("stop_vs_ttH", 0.7), ("WH_vs_ZH", 0.9), ("FCNC_vs_tHq", 0.7)):
        for seed in (1, 2, 3):
            ledger.trial(task, "trees", 1000, seed, level, pretraining="none", device_seconds=1.0, plateau_seconds=0.5)
    results = Results(ledger.frame(), facts)
    text = short(results)
    assert "reaches **77.2 %**, boosted trees **76.7 %**, training from scratch **72.0 %** (mean of 3 tasks)." in text
    assert (
        re.search(r"; over trees \+1 points \(90 %: -\d+ to \+\d+\) at 1,000", text)
        and "is saved again after 10 tasks at 1,000 events (90 %: 10)." in text
    )
    assert "Against the better of scratch and trees it is not shown to be saved at 1,000 events (90 %: " in text
    assert "finetuning is ahead of trees in 2 of 3 cells, trees in 1, at 1 s a training." in text
    verdicts = results.savings.set_index("task")["text"].to_dict()
    assert verdicts["WH_vs_ZH"] == "never: trees are better after 1 s"
    assert (
        verdicts["stop_vs_ttH"]
        == "saves 6 s a task against scratch; ahead of trees on validation events, at 4 s a task in place of 1 s"
    )


def test_a_study_under_way_whose_trees_are_there_before_scratch_says_what_it_knows(ledger, facts) -> None:
    fill(ledger)
    for task in ("stop_vs_ttH", "WH_vs_ZH", "FCNC_vs_tHq"):
        ledger.trial(task, "trees", 1000, 1, 0.7, pretraining="none", device_seconds=1.0)
    frame = ledger.frame()
    told = headline.headline(Results(frame[frame["strategy"] != "scratch"], facts))
    assert (
        told[0]
        == "At 1,000 events per class finetuning (multiclass) reaches **77.2 %**, boosted trees **70.0 %** (mean of 3 tasks)."
    )
    assert not any("saved" in line or line.endswith(" is .") for line in told)


def test_of_several_networks_each_has_one_line(ledger, facts) -> None:
    fill(ledger)
    one = ledger.frame()
    both = pd.concat([one.assign(network=name, record=one["record"] + name) for name in ("small", "large")])
    results = Results(both.reset_index(drop=True), facts)
    told = headline.headline(results)
    assert [line.split(":")[0] for line in told] == ["**small**", "**large**"]
    assert all("reaches **77.2 %**" in line and "**after 10 tasks** at 1,000 events" in line for line in told)
    assert sentences.details(results) == []


def test_two_kinds_of_device_are_told_apart(ledger, facts, tmp_path: Path) -> None:
    fill(ledger)
    frame = ledger.frame()
    frame.loc[frame["level"] == "pretraining", "device"] = "cuda"
    text = short(Results(frame, facts))
    assert "summed apart" in text and "GPU-hours" in text and "CPU-hours" in text
    assert "no break-even" in text and "not mixed" in text


def test_failures_are_listed_with_their_reason(ledger, facts, tmp_path: Path) -> None:
    fill(ledger)
    failed = ledger.trial("stop_vs_ttH", "scratch", 1000, 4, 0.0, outcome="failed", reason="loss | is NaN")
    results = Results(ledger.frame(), facts)
    text = short(results)
    assert "## Failed" in text and failed["record"] in text and "loss \\| is NaN" in text
    assert "1 failed" in text
    assert "1 failed: loss | is NaN" in summary_lines(results)


def test_a_ledger_without_results_still_gives_a_report(ledger, facts, tmp_path: Path) -> None:
    page = write_report(Results(ledger.frame(), facts), tmp_path)
    text = page.with_name("report.md").read_text()
    assert "No cell has both" in text and "Nothing yet." in text and "headline.png" not in text
    assert "No cell has both" in page.read_text() and not list(tmp_path.glob("*.png"))
    assert len(summary_lines(Results(ledger.frame(), facts))) == 4


def test_the_summary_is_short_plain_text(ledger, facts) -> None:
    fill(ledger)
    lines = summary_lines(Results(ledger.frame(), facts))
    assert any("multiclass" in line and "1,000 +5.2" in line for line in lines)
    assert any("10 tasks" in line for line in lines)
    assert len(lines) < 14 and all(len(line) < 120 for line in lines)


def test_the_method_says_until_when_on_how_many_backbones_and_with_which_search(facts) -> None:
    spec = facts["spec"]
    before = " ".join(sentences.method(spec))
    assert "All events are simulated." in before and "one fixed set of simulated test events" in before
    assert f"; {spec['pretraining']['epochs']} epochs, batch" in before
    told = {"patience": 3, "seeds": 2}
    several = {**spec, "pretraining": {**spec["pretraining"], **told}}
    several["search"] = {**spec["search"], "trials": 4, "strategies": ("scratch", "finetune")}
    text = " ".join(sentences.method(several))
    assert f"; at most {spec['pretraining']['epochs']} epochs, until 3 without a lower validation loss, batch" in text
    tuning = spec["finetuning"]
    assert f"and {tuning['patience_steps']} steps, without a relative improvement" in text
    assert "turned about the beam and mirrored" in text and f"first {tuning['warmup_steps']} steps" in text
    assert f"up to {tuning['validation_events']} labelled validation events of each class" in text
    assert "Backbones: 2 of " in text and "no interval contains the scatter of pretraining seeds" not in text
    assert "From scratch the rate was searched with as many trials, seeds and validation events." in text
    assert "are signal, with weights" not in text
    several["finetuning"] = {**tuning, "signal_fraction": 0.068}
    assert "Of training events 6.8 % are signal, with weights" in " ".join(sentences.method(several))
    several["search"]["trials"] = 0
    assert "From scratch the rate was searched" not in " ".join(sentences.method(several))
