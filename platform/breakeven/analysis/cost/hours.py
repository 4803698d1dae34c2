"""Where the device time went: generation, pretraining, search, training; useful and wasted.

Sums of what the ledger charged, one row for each stage and kind of device. Never converts one kind of hour to another.
"""

from __future__ import annotations

import math

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis import published
from breakeven.analysis.columns import columns
from breakeven.ledger.charge import charges_of, hours_unit

COST_COLUMNS = columns("""
    stage: generation, pretraining, search or training
    unit
    useful: device-hours of finished work
    stopped: device-hours of search trials ended early because they were losing: the price of a search
    wasted: device-hours of failed, interrupted or repeated work
    n: finished records
    n_stopped
    n_failed: failed records
    mean: hours of one finished training until its plateau, of one without a plateau until its end
    published_mean: the paper's mean GPU-hours of one training at 1e7 events per class
    energy_kwh: energy of the GPUs by their own counters, kWh; empty where no machine told any
    processor note
""")


def cost_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Device-hours by stage and kind of device, with a row `all` for each kind at the end. Columns: COST_COLUMNS."""
    ledger_frame.check(frame)
    # A record is finished once; its earlier failures stay in as waste, so nothing is dropped here but exact repeats.
    rows_of = frame[(frame["outcome"] != "finished") | ~frame.duplicated(["record", "outcome"])]
    charged = rows_of.assign(
        stage=rows_of.apply(_stage, axis=1) if len(rows_of) else pd.Series(dtype=object),
        unit=rows_of["device"].fillna("cpu").map(hours_unit),
    )
    rows = []
    order = sorted(set(charged["stage"]), key=_rank)
    for unit in sorted(set(charged["unit"])):
        of_unit = charged[charged["unit"] == unit]
        for stage in [*order, "all"]:
            here = of_unit if stage == "all" else of_unit[of_unit["stage"] == stage]
            if len(here):
                rows.append({"stage": stage, "unit": unit, **_sums(here, stage)})
    return pd.DataFrame(rows, columns=list(COST_COLUMNS))


_STAGES = ("generation", "pretraining", "search", "scratch", "finetune", "frozen")
_PUBLISHED = {
    "pretraining multiclass": "multiclass pretraining",
    "pretraining multilabel": "multilabel pretraining (16 GPUs)",
    "scratch": "baseline training at 1e7 per class: mean of five tasks",
}


def _stage(row: pd.Series) -> str:
    if row["level"] == "generation":
        return "generation"
    if row["level"] == "pretraining":
        return f"pretraining {row['pretraining']}"
    if row["phase"] == "search":
        return "search"
    return row["strategy"] if row["strategy"] == "scratch" else f"{row['strategy']} {row['pretraining']}"


def _rank(stage: str) -> tuple[int, str]:
    return _STAGES.index(stage.split()[0]), stage


def _sums(here: pd.DataFrame, stage: str) -> dict[str, object]:
    spent = charges_of(here)
    finished, failures, stopped = (here[here["outcome"] == outcome] for outcome in ("finished", "failed", "stopped"))
    trained = stage not in ("generation", "all") and len(finished)
    reference = _PUBLISHED.get(stage)
    return {
        "useful": float((spent["useful"] + spent["search"]).sum()) / 3600,
        "stopped": float(spent["stopped"].sum()) / 3600, "wasted": float(spent["wasted"].sum()) / 3600,
        "n": len(finished), "n_stopped": len(stopped), "n_failed": len(failures),
        "mean": float(ledger_frame.training_seconds(finished, "plateau").mean()) / 3600 if trained else math.nan,
        "published_mean": published.cost_value(reference) if reference else math.nan,
        "energy_kwh": float(here["energy_joules"].sum(min_count=1)) / 3.6e6,
        "processor": ledger_frame.hardware(here)["processor"], "note": ledger_frame.hardware_note(here),
    }  # fmt: skip
