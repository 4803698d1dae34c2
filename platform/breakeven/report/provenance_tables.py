"""Tables that let a reader follow a number back: samples, pretrainings, every trial, what failed, what is missing."""

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.metric import MERIT, Metric, shown
from breakeven.report import wording
from breakeven.report.results import Results
from breakeven.report.table import NOTE, PRETRAINING, Column, Row, Table, count, plain, written

SOURCES = {"hard_events": "shipped parton-level sample", "matrix_element": "matrix-element weight", "lhe": "your LHE files",
           "jetclass": "your JetClass files", "pythia": "Pythia"}  # fmt: skip


def provenance_tables(results: Results) -> list[Table]:
    """Samples, pretrainings, failures, missing trials."""
    missing = results.facts.get("missing") or {}
    return [
        _samples(results),
        _pretrainings(ledger_frame.by_backbone(results.frame), results.merit),
        Table(
            "failed",
            "Failed",
            "What failed and was not finished by a later try, with the reason.",
            results.failed.assign(what=results.failed.apply(_what, axis=1, result_type="reduce"))[list(_FAILED)],
            (plain("record"), plain("what"), count("seed", "seed"), plain("reason")),
            "Nothing.",
            links=False,
            meanings=_FAILED,
        ),
        Table(
            "missing",
            "Missing",
            f"{sum(missing.values())} trials of {len(missing)} cells are not there: the run was stopped, or its budget spent, "
            "before them; the same command goes on with them. Trials missing, by cell.",
            pd.DataFrame(list(missing.items()), columns=["cell", "trials"]),
            (plain("cell"), count("trials", "trials")),
            "Nothing.",
            links=False,
            meanings=columns("cell\ntrials: number of trials"),
        ),
    ]


def trials_table(frame: pd.DataFrame, merit: Metric = MERIT) -> Table:
    """Every record of a trial; links are left to the page, which groups them by cell."""
    measured = {metric.column("test"): metric for metric in shown(merit)}
    figures = "\n".join(f"{name}: {one.title} on test events, {one.recorded}" for name, one in measured.items())
    meanings = columns(f"""
        record outcome
        phase: search | confirm; only confirming trials are reported
        cell seed ratio
        {figures}
        device
        kernel: code that the network was trained with; empty where an older version made the record
        device_seconds plateau_seconds dataset backbone git_commit
        ended: when the record was made
        reason
    """)
    trials = frame.loc[frame["level"] == "trial", list(meanings)]
    return Table(
        "trials",
        "All trials",
        "One row a record: metrics as they are recorded, accuracy and AUC as fractions, on test events (confirming trials "
        "only), device-seconds, hashes of the record itself, of the events, of the backbone, and the commit of the code. One "
        "value each: no uncertainty.",
        trials.sort_values(["cell", "phase", "ratio", "seed"], kind="stable").reset_index(drop=True),
        (
            plain("trial", "record"),
            Column("phase", lambda row: row["phase"] + ("" if row["outcome"] == "finished" else f", {row['outcome']}")),
            Column("seed", lambda row: f"{row['seed']:.0f}", "seed"),
            written("ratio", "ratio", wording.significant),
            *(written(metric.title, name, digits=4) for name, metric in measured.items()),
            written("device-s", "device_seconds", wording.significant),
            plain("events", "dataset"),
            plain("backbone"),
            plain("commit", "git_commit"),
        ),
        links=False,
        meanings=meanings,
    )


def _samples(results: Results) -> Table:
    samples = [
        {"process": name, "source": SOURCES.get(manifest["source"], manifest["source"]), "events": manifest["events"],
         "hard_events": manifest.get("hard_events"),
         **{f"test_{name}": number for name, number in manifest.get("splits", {}).get("test", {}).items()},
         "cross_section_pb": manifest.get("cross_section_pb"), "dataset": manifest["hash"], "note": manifest["note"] or ""}
        for name, manifest in results.facts["datasets"].items()
    ]  # fmt: skip
    meanings = columns("""
        process: process generated
        source: what the events were made from
        events: number of events
        hard_events: distinct hard events behind them; empty where an older version made the manifest
        test_events: number of test events
        test_hard_events: distinct hard events behind the test events
        test_effective: independent events that the test events are worth where copies of a hard event count as one
        cross_section_pb: cross section, pb
        dataset note
    """)
    return Table(
        "samples",
        "Samples",
        "What each process was made from, the number of events and of distinct hard events behind them (copies of one hard "
        "event differ in shower and detector, and share a split), in all and for testing, its cross section in pb, and the "
        "hash that its trials name.",
        pd.DataFrame(samples, columns=list(meanings)),
        (
            plain("process"),
            plain("source"),
            count("events", "events"),
            count("hard events", "hard_events"),
            count("test events", "test_events"),
            count("test hard events", "test_hard_events"),
            written("cross section, pb", "cross_section_pb", wording.significant),
            plain("dataset"),
            NOTE,
        ),
        links=False,
        meanings=meanings,
    )


def _pretrainings(frame: pd.DataFrame, merit: Metric) -> Table:
    reached = merit.column("validation")
    meanings = columns(f"""
        pretraining record outcome backbone device processor device_seconds plateau_seconds
        {reached}: {merit.recorded}, validation events
        dataset git_commit
    """)
    return Table(
        "pretrainings",
        "Pretrainings",
        "One row a pretraining: device-seconds in all, and until its plateau where it reached "
        f"one, validation {merit.title} as it is recorded, hashes. One run each: no uncertainty.",
        frame.loc[frame["level"] == "pretraining", list(meanings)].reset_index(drop=True),
        (
            PRETRAINING,
            plain("record"),
            plain("outcome"),
            written("device-s", "device_seconds", wording.significant, 4),
            written("until plateau", "plateau_seconds", wording.significant, 4),
            written(f"validation {merit.title}", reached, digits=4),
            plain("device"),
            plain("processor"),
            plain("events", "dataset"),
            plain("commit", "git_commit"),
        ),
        "No pretraining in this study.",
        links=False,
        meanings=meanings,
    )


_FAILED = columns("record\nwhat: what failed\nseed reason")


def _what(row: Row) -> str:
    """What a record is of: a cell, a pretraining, the events of a process."""
    if row["level"] == "trial":
        return str(row["cell"])
    return f"{row['pretraining']} pretraining" if row["level"] == "pretraining" else f"events {row['process']}"
