"""Tables that let a reader follow a number back: samples, pretrainings, every trial, what failed, what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from breakeven.analysis.columns import columns
from breakeven.metric import MERIT, shown
from breakeven.report import wording
from breakeven.report.results import Results
from breakeven.report.table import NOTE, PRETRAINING, Column, Row, Table, count, plain

SOURCES = {"hard_events": "shipped parton-level sample", "matrix_element": "matrix-element weight", "lhe": "your LHE files",
           "surrogate": "surrogate", "pythia": "Pythia"}  # fmt: skip


def provenance_tables(results: Results) -> list[Table]:
    """Samples, pretrainings, failures, missing trials."""
    return [_samples(results.facts["datasets"]), _pretrainings(results.frame), _failed(results.failed),
            _missing(results.facts.get("missing") or {})]  # fmt: skip


def trials_table(frame: pd.DataFrame) -> Table:
    """Every record of a trial; links are left to the page, which groups them by cell."""
    measured = {metric.column("test"): metric.title for metric in shown(MERIT)}
    meanings = columns(f"""
        record outcome
        phase: search | confirm; only confirming trials are reported
        cell seed ratio
        {chr(10).join(f"{name}: {title} on test events, fraction" for name, title in measured.items())}
        device device_seconds plateau_seconds dataset backbone git_commit
        ended: when the record was made
        reason
    """)
    trials = frame.loc[frame["level"] == "trial", list(meanings)]
    return Table(
        "trials",
        "All trials",
        "One row a record: accuracies and AUC as fractions on test events (confirming trials only), device-seconds, hashes of "
        "the record itself, of the events, of the backbone, and the commit of the code. One value each: no uncertainty.",
        trials.sort_values(["cell", "phase", "ratio", "seed"], kind="stable").reset_index(drop=True),
        (
            plain("trial", "record"),
            Column("phase", lambda row: row["phase"] + ("" if row["outcome"] == "finished" else f", {row['outcome']}")),
            Column("seed", lambda row: f"{row['seed']:.0f}", "seed"),
            Column("ratio", lambda row: wording.significant(row["ratio"]), "ratio"),
            *(_fraction(title, column) for column, title in measured.items()),
            Column("device-s", lambda row: wording.significant(row["device_seconds"]), "device_seconds"),
            plain("events", "dataset"),
            plain("backbone", "backbone"),
            plain("commit", "git_commit"),
        ),
        links=False,
        meanings=meanings,
    )


def _fraction(heading: str, name: str) -> Column:
    return Column(heading, lambda row: wording.number(row[name], 4), name)


def _samples(datasets: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        {"process": name, "source": SOURCES.get(manifest["source"], manifest["source"]), "events": manifest["events"],
         "cross_section_pb": manifest.get("cross_section_pb"), "dataset": manifest["hash"], "note": manifest["note"] or ""}
        for name, manifest in datasets.items()
    ]  # fmt: skip
    return Table(
        "samples",
        "Samples",
        "What each process was made from, the number of events, its cross section in pb, and the hash that its trials name. A "
        "surrogate has the right particles and the wrong correlations: no physics may be concluded from it.",
        pd.DataFrame(rows, columns=list(_SAMPLES)),
        (
            plain("process", "process"),
            plain("source", "source"),
            count("events", "events"),
            Column("cross section, pb", lambda row: wording.significant(row["cross_section_pb"]), "cross_section_pb"),
            plain("dataset", "dataset"),
            NOTE,
        ),
        links=False,
        meanings=_SAMPLES,
    )


_SAMPLES = columns("""
    process: process generated
    source: what the events were made from
    events: number of events
    cross_section_pb: cross section, pb
    dataset note
""")


def _pretrainings(frame: pd.DataFrame) -> Table:
    meanings = columns("""
        pretraining record outcome backbone device processor device_seconds plateau_seconds
        validation_accuracy: fraction, validation events
        dataset git_commit
    """)
    return Table(
        "pretrainings",
        "Pretrainings",
        "One row a pretraining: device-seconds in all, and until its plateau where it had one (pretraining has no plateau rule: "
        "all its epochs are charged), validation accuracy as a fraction, hashes. One run each: no uncertainty.",
        frame.loc[frame["level"] == "pretraining", list(meanings)].reset_index(drop=True),
        (
            PRETRAINING,
            plain("record", "record"),
            plain("outcome", "outcome"),
            Column("device-s", lambda row: wording.significant(row["device_seconds"], 4), "device_seconds"),
            Column("until plateau", lambda row: wording.significant(row["plateau_seconds"], 4), "plateau_seconds"),
            _fraction("validation accuracy", "validation_accuracy"),
            plain("device", "device"),
            plain("processor", "processor"),
            plain("events", "dataset"),
            plain("commit", "git_commit"),
        ),
        "No pretraining in this study.",
        links=False,
        meanings=meanings,
    )


def _failed(failed: pd.DataFrame) -> Table:
    rows = [
        {"record": row["record"], "what": _what(row), "seed": row["seed"],
         "reason": row["reason"]}
        for row in failed.to_dict("records")
    ]  # fmt: skip
    return Table(
        "failed",
        "Failed",
        "What failed and was not finished by a later try, with the reason.",
        pd.DataFrame(rows, columns=["record", "what", "seed", "reason"]),
        (
            plain("record", "record"),
            plain("what", "what"),
            count("seed", "seed"),
            plain("reason", "reason"),
        ),
        "Nothing.",
        links=False,
        meanings=columns("record seed reason\nwhat: what failed"),
    )


def _missing(missing: Mapping[str, int]) -> Table:
    return Table(
        "missing",
        "Missing",
        f"{sum(missing.values())} trials of {len(missing)} cells did not fit into the budget; the same command goes on with "
        "them. Trials missing, by cell.",
        pd.DataFrame(
            [{"cell": cell, "trials": number} for cell, number in missing.items()], columns=["cell", "trials"]
        ),
        (plain("cell", "cell"), count("trials", "trials")),
        "Nothing.",
        links=False,
        meanings=columns("cell\ntrials: number of trials"),
    )


def _what(row: Row) -> str:
    """What a record is of: a cell, a pretraining, the events of a process."""
    if row["level"] == "trial":
        return str(row["cell"])
    return f"{row['pretraining']} pretraining" if row["level"] == "pretraining" else f"events {row['process']}"
