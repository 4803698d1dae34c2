"""Where the device time went: generation, pretraining, search, training; useful and wasted.

Sums of what the ledger charged, one row for each stage and kind of device. Never converts one kind of hour to another.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis import published
from breakeven.analysis.columns import columns
from breakeven.ledger.charge import charges_of, hours_unit

__all__ = ["cost_table"]

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
    """Device-hours by stage and kind of device, with a row `all` for each kind at the end. Columns: COST_COLUMNS.

    Raises ValueError where a column of the ledger is missing.
    """
    ledger_frame.check(frame)
    records = ledger_frame.once(frame)
    stages = pd.Series([_stage(row) for row in records.to_dict("records")], records.index, dtype=object)
    rows = []
    for unit, of_unit in records.groupby(records["device"].fillna("cpu").map(hours_unit)):
        for stage in [*sorted(set(stages[of_unit.index]), key=_rank), "all"]:
            of_stage = of_unit if stage == "all" else of_unit[stages[of_unit.index] == stage]
            rows.append({"stage": stage, "unit": unit, **_sums(of_stage, stage)})
    return pd.DataFrame(rows, columns=list(COST_COLUMNS))


_STAGES = ("generation", "pretraining", "search", *ledger_frame.ORDER)
_PUBLISHED = {
    "pretraining multiclass": "multiclass pretraining",
    "pretraining multilabel": "multilabel pretraining (16 GPUs)",
    "scratch": "baseline training at 1e7 per class: mean of five tasks",
}


def _stage(row: Mapping[Any, Any]) -> str:
    if row["level"] == "generation":
        return "generation"
    if row["level"] == "pretraining":
        return f"pretraining {row['pretraining']}"
    if row["phase"] == "search":
        return "search"
    return str(row["strategy"]) if row["pretraining"] == "none" else f"{row['strategy']} {row['pretraining']}"


def _rank(stage: str) -> tuple[int, str]:
    return _STAGES.index(stage.split()[0]), stage


def _sums(records: pd.DataFrame, stage: str) -> dict[str, object]:
    spent = charges_of(records)
    finished, failures, stopped = (
        records[records["outcome"] == outcome] for outcome in ("finished", "failed", "stopped")
    )
    trained = stage not in ("generation", "all") and len(finished)
    reference = _PUBLISHED.get(stage)
    return {
        "useful": float((spent["useful"] + spent["search"]).sum()) / 3600,
        "stopped": float(spent["stopped"].sum()) / 3600, "wasted": float(spent["wasted"].sum()) / 3600,
        "n": len(finished), "n_stopped": len(stopped), "n_failed": len(failures),
        "mean": float(ledger_frame.training_seconds(finished, "plateau").mean()) / 3600 if trained else math.nan,
        "published_mean": published.cost_value(reference) if reference else math.nan,
        "energy_kwh": float(records["energy_joules"].sum(min_count=1)) / 3.6e6,
        "processor": ledger_frame.hardware(records)["processor"], "note": ledger_frame.hardware_note(records),
    }  # fmt: skip
