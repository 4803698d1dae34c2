"""Tables of what it costs and when it pays: break-even, convergence, device-hours, accounts, the price made before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from breakeven.analysis.columns import columns
from breakeven.analysis.cost import accounts, breakeven, convergence, hours
from breakeven.analysis.laws import forecast
from breakeven.duration import format_hours
from breakeven.report import wording
from breakeven.report.accuracy_tables import task_column
from breakeven.report.results import Results
from breakeven.report.table import NOTE, PRETRAINING, SIZE, STRATEGY, Column, Row, Table, count, plain


def break_even_tables(results: Results) -> list[Table]:
    """N* under every way of charging, its forecast, and the paper's two readings."""
    return [_break_even(results), _break_even_forecast(results), _readings()]


def convergence_tables(results: Results) -> list[Table]:
    """How long a training takes."""
    task = task_column(results)
    return [_convergence(results, task), _plateau(results, task), _hours_forecast(results, task)]


def cost_tables(results: Results) -> list[Table]:
    """Where the device time went, and what was expected."""
    return [_cost(results), _accounts(results), _price(results.facts)]


def _unit(name: str) -> Column:
    return Column("unit", lambda row: wording.UNITS.get(row[name], "") if wording.known(row[name]) else "", name)


def _processor(rows: pd.DataFrame) -> tuple[Column, ...]:
    """Shown where there are several: one alone stands under provenance."""
    return (plain("processor", "processor"),) if rows["processor"].nunique() > 1 else ()


def _hours(heading: str, name: str) -> Column:
    return Column(heading, lambda row: wording.hours(row[name]), name)


def _break_even(results: Results) -> Table:
    return Table(
        "break_even",
        "Break-even, measured",
        "N* = T_pre / (mean T_scratch - mean T_finetune), the number of tasks from which pretraining is cheaper, in "
        "device-hours of one kind of device (wasted time carries that of its record); each task counts the same. "
        "Until the plateau: a training without one counts until its end, and a pretraining, which has no plateau rule, with all "
        "its epochs. 90 %, tasks like these: bootstrap over tasks and seeds (Student's t below five tasks); 90 %, these tasks: "
        "over seeds alone. The paper's reading divides by T_finetune instead. n: trainings from scratch, finetuned.",
        results.break_even,
        (
            PRETRAINING,
            SIZE,
            plain("charged", "charged"),
            Column("N*", lambda row: row["text"], "exact"),
            Column("90 %, tasks like these", lambda row: _ends(row, "low", "high"), "low"),
            Column("90 %, these tasks", lambda row: _ends(row, "low_seeds", "high_seeds"), "low_seeds"),
            Column("paper's reading", lambda row: wording.number(row["published_reading"]), "published_reading"),
            _hours("T_pre", "pretraining_hours"),
            _hours("T_scratch", "scratch_hours"),
            _hours("T_finetune", "finetuning_hours"),
            _unit("unit"),
            count("tasks", "n_tasks"),
            Column("n", lambda row: f"{row['n_scratch']}, {row['n_finetuning']}"),
            NOTE,
        ),
        "No pretraining has both a scratch and a finetuned training yet.",
        meanings=breakeven.BREAK_EVEN_COLUMNS,
    )


def _ends(row: Row, low: str, high: str) -> str:
    return wording.tasks_interval(row, low, high).removeprefix(" (90 %: ").removesuffix(")")


def _break_even_forecast(results: Results) -> Table:
    return Table(
        "break_even_forecast",
        "Break-even at ten times the data",
        "From laws of the training hours, with the pretraining as it is; 90 % interval, the wider of two: over tasks, and "
        "over resampled laws. No forecast where a law of hours is refused.",
        results.break_even_forecast,
        (
            PRETRAINING,
            SIZE,
            Column("N*", wording.tasks, "exact"),
            _hours("T_pre", "pretraining_hours"),
            _hours("T_scratch", "scratch_hours"),
            _hours("T_finetune", "finetuning_hours"),
            _unit("unit"),
            count("tasks", "n_tasks"),
            NOTE,
        ),
        "No pretraining to forecast for.",
        meanings=forecast.BREAK_EVEN_COLUMNS,
    )


def _readings() -> Table:
    return Table(
        "break_even_readings",
        "The paper's figures by both readings",
        "From the GPU-hours that arXiv 2412.10665, section IV.3, prints at 1e7 events per class: T_pre = 45.5, T_scratch = "
        "2.94, T_finetune = 38 % of T_scratch.",
        breakeven.readings(),
        (
            plain("reading", "reading"),
            plain("formula", "formula"),
            Column("value", lambda row: wording.number(row["value"]), "value"),
            plain("break-even", "tasks"),
            plain("what it does", "explanation"),
        ),
        meanings=breakeven.READING_COLUMNS,
    )


def _convergence(results: Results, task: Column) -> Table:
    return Table(
        "convergence",
        "Time to the baseline's accuracy",
        "Device time until the validation accuracy reaches 99 % of the baseline's final one, over the baseline's total time "
        "(arXiv 2412.10665, Fig. 1): mean ± standard deviation over the seeds that reached it (n), Student's t interval of "
        "that mean, and the median over all seeds, those that never got there counted as infinite.",
        results.time_ratios,
        (
            task,
            PRETRAINING,
            STRATEGY,
            SIZE,
            Column("time ratio", lambda row: row["text"], "ratio"),
            Column("90 %", lambda row: wording.between(row["low"], row["high"], 2)),
            Column("median", lambda row: wording.number(row["median"], 2), "median"),
            Column("reached", lambda row: f"{row['n_reached']} of {row['n']}", "n_reached"),
            _unit("unit"),
            NOTE,
        ),
        "No treatment can be held against training from scratch yet.",
        meanings=convergence.RATIO_COLUMNS,
    )


def _plateau(results: Results, task: Column) -> Table:
    return Table(
        "plateau",
        "Time to plateau",
        "Device-seconds of one training until its last improving epoch: mean ± standard deviation over the n seeds that "
        "reached a plateau; epochs: mean number trained, those after it included.",
        results.plateaus,
        (
            task,
            PRETRAINING,
            STRATEGY,
            SIZE,
            Column("seconds", lambda row: row["text"], "seconds"),
            Column("epochs", lambda row: wording.number(row["epochs"]), "epochs"),
            count("without", "n_without", zero=""),
            *_processor(results.plateaus),
            NOTE,
        ),
        meanings=convergence.PLATEAU_COLUMNS,
    )


def _hours_forecast(results: Results, task: Column) -> Table:
    return Table(
        "hours_forecast",
        "Device-hours at ten times the data",
        "Hours of one training until its plateau at ten times the largest size, from the law hours(n) = a + b n^c; trainings "
        "that reached no plateau count until their end. 90 % interval of the law, and of one new training.",
        results.hours_forecast,
        (
            task,
            PRETRAINING,
            STRATEGY,
            SIZE,
            Column("hours", lambda row: row["text"], "hours"),
            Column("90 %, one training", lambda row: _hours_between(row["prediction_low"], row["prediction_high"])),
            _unit("unit"),
            NOTE,
        ),
        meanings=forecast.HOURS_COLUMNS,
    )


def _hours_between(low: float, high: float) -> str:
    return f"{format_hours(low)} to {format_hours(high)}" if wording.known(low) else ""


def _cost(results: Results) -> Table:
    several = results.cost["unit"].nunique() > 1
    return Table(
        "cost",
        "Device-hours by stage",
        "As charged in the ledger. Useful: finished work. Stopped: search trials that were ended early because they were "
        "losing. Wasted: failed, interrupted or repeated work. Mean: one training until its plateau, one without a "
        "plateau, as every pretraining is, until its end. Published: the paper's mean in GPU-hours, at "
        "1e7 events per class on other hardware. Energy: of the GPUs, by their own counters."
        + (" Hours on processors and on GPUs are summed apart, never together." if several else ""),
        results.cost,
        (
            plain("stage", "stage"),
            _unit("unit"),
            _hours("useful", "useful"),
            Column("stopped", lambda row: wording.hours(row["stopped"]) if row["n_stopped"] else "", "stopped"),
            _hours("wasted", "wasted"),
            count("n", "n"),
            count("failed", "n_failed", zero=""),
            _hours("mean", "mean"),
            Column("published", lambda row: wording.significant(row["published_mean"]), "published_mean"),
            Column("energy, kWh", lambda row: wording.significant(row["energy_kwh"]), "energy_kwh"),
            *_processor(results.cost),
            NOTE,
        ),
        meanings=hours.COST_COLUMNS,
    )


def _accounts(results: Results) -> Table:
    return Table(
        "accounts",
        "Where the reserved time went",
        "Reserved is what this study's own drivers held, in device-hours by their clocks; shares of it by the workers' clocks. "
        "Idle is time held and not used: starting, waiting, reading, a core that other programs took. What was reused from "
        "other studies is in no row.",
        results.accounts,
        (
            plain("stage", "stage"),
            _unit("unit"),
            _hours("reserved", "reserved"),
            *(_share(name) for name in ("useful", "search", "wasted", "idle", "unaccounted")),
            count("reservations", "n_reservations"),
        ),
        "No driver of this study has reserved a device.",
        meanings=accounts.COLUMNS,
    )


def _share(name: str) -> Column:
    def text(row: Row) -> str:
        part = row[name] / row["reserved"] if row["reserved"] else 0.0
        return f"{100 * part:.1f} %" if abs(part) >= 5e-4 else "0"

    return Column(name, text, name)


def _price(facts: Mapping[str, Any]) -> Table:
    rows = pd.DataFrame(facts.get("price") or [], columns=list(_PRICE))
    return Table(
        "price",
        "Price and outcome",
        "Device-hours expected before the study began"
        + (f" ({facts['price_origin']})" if facts.get("price_origin") else "")
        + ", with the range that was thought likely, beside what its records were charged.",
        rows,
        (
            plain("stage", "stage"),
            _hours("expected", "expected"),
            Column("likely", lambda row: _hours_between(row["low"], row["high"])),
            _hours("taken", "taken"),
            Column("off by", lambda row: f"{row['off']:+.0%}" + ("" if row["within"] else ", outside"), "off"),
        ),
        "No price was made before the study.",
        meanings=_PRICE,
    )


_PRICE = columns("""
    stage: generation, pretraining, search or training
    expected: device-hours expected before the study began
    low: lower end of the range thought likely
    high: upper end of the range thought likely
    taken: device-hours that the records were charged
    off: taken / expected - 1
    within: whether the outcome lies in the likely range
""")
