"""Tables of what it costs and when it is saved again: break-even, convergence, device-hours, accounts, the price made before."""

import math
from functools import partial

import pandas as pd

from breakeven.analysis import endings
from breakeven.analysis.columns import columns
from breakeven.analysis.cost import accounts, breakeven, convergence, hours
from breakeven.analysis.cost.savings import saving_columns
from breakeven.analysis.exposure import EXPOSURE_COLUMNS
from breakeven.analysis.laws import forecast
from breakeven.duration import duration, format_hours
from breakeven.report import wording
from breakeven.report.results import Results
from breakeven.report.table import (
    CELL,
    NOTE,
    PRETRAINING,
    SIZE,
    STRATEGY,
    TASK,
    Column,
    Row,
    Table,
    count,
    in_words,
    interval,
    plain,
    written,
)


def _felt(row: Row, name: str) -> str:
    """Hours as a length of time that a reader can feel."""
    return duration(3600 * row[name]) if wording.known(row[name]) and math.isfinite(row[name]) else ""


_UNIT = Column("unit", lambda row: wording.UNITS.get(row["unit"], "") if wording.known(row["unit"]) else "", "unit")
_TIMES = (
    *(Column(f"T_{name}", partial(_felt, name=f"{column}_hours"), f"{column}_hours")
      for name, column in (("pre", "pretraining"), ("scratch", "scratch"), ("finetune", "finetuning"))),
    _UNIT,
    count("tasks", "n_tasks"),
)  # fmt: skip


def break_even_tables(results: Results) -> list[Table]:
    """N* under every way of charging, its forecast, and the paper's two readings."""
    return [
        Table(
            "break_even",
            "Break-even, measured",
            "N* = T_pre / (mean T_scratch - mean T_finetune), the number of tasks from which pretraining is cheaper, in device "
            "time of one kind of device (wasted time carries that of its record); each task counts the same, and T_pre is the "
            "mean over the backbones of a name. Until the end: all that was paid, patience included; until the plateau: the "
            "paper's way, where a training without one counts until its end. Against the better of scratch and trees: of each "
            "task and size trees, with their time as T_scratch, unless scratch is ahead of them in "
            f"{results.chooses.title} of validation events by more than one standard error. 90 %, tasks like these: "
            "studentised bootstrap over tasks, every resample of up to six enumerated (Student's t below five), joined with "
            "Student's t over backbones; 90 %, these tasks: over seeds and backbones alone. N* of a mean that saves nothing is "
            "never where its whole interval saves nothing, else not shown."
            + (" The paper's reading divides by T_finetune instead." if results.in_paper else "")
            + " n: trainings of the baseline, finetuned.",
            results.break_even,
            (
                PRETRAINING,
                SIZE,
                plain("charged"),
                plain("against", "baseline"),
                in_words("N*", "exact"),
                Column("90 %, tasks like these", lambda row: wording.tasks_between(row, "low", "high"), "low"),
                Column(
                    "90 %, these tasks", lambda row: wording.tasks_between(row, "low_seeds", "high_seeds"), "low_seeds"
                ),
                Column("saves on", _saves_on, "n_saving"),
                *([written("paper's reading", "published_reading")] if results.in_paper else []),
                *_TIMES,
                Column("n", lambda row: f"{row['n_scratch']}, {row['n_finetuning']}"),
                NOTE,
            ),
            "No pretraining has both a scratch and a finetuned training yet.",
            meanings=breakeven.BREAK_EVEN_COLUMNS,
        ),
        Table(
            "savings",
            "What each task saves",
            "Device time of one training, charged until it stopped, mean over seeds; saved: from scratch less finetuned, with "
            "its 90 % Welch interval over seeds: negative is lost. Gains in test "
            f"{results.merit.title}, {results.merit.points}. Where finetuning is not ahead of trees in {results.chooses.title} "
            "of validation events, by more than one standard error, no number of tasks makes up for a pretraining.",
            results.savings.merge(results.exposures, how="left"),
            (
                TASK,
                PRETRAINING,
                plain("classes", "exposure"),
                SIZE,
                *(
                    Column(f"T_{name}", partial(_seconds, name=f"{column}_seconds"), f"{column}_seconds")
                    for name, column in (("scratch", "scratch"), ("trees", "trees"), ("finetune", "finetuning"))
                ),
                Column(
                    "saved, s", lambda row: wording.significant(row["saving_seconds"], 2, sign=True), "saving_seconds"
                ),
                Column("90 %", _saving_between),
                written("gain", "gain", digits=results.merit.digits, sign=True),
                written("over trees", "gain_over_trees", digits=results.merit.digits, sign=True),
                plain("in words", "text"),
                NOTE,
            ),
            "No task was both finetuned and trained from scratch yet.",
            meanings=saving_columns(results.merit) | EXPOSURE_COLUMNS,
        ),
        Table(
            "break_even_forecast",
            "Break-even at ten times the data",
            "From laws of the training hours, with the pretraining as it is; 90 % interval, the wider of two: over tasks, and "
            "over resampled laws. No forecast where a law of hours is refused.",
            results.break_even_forecast,
            (PRETRAINING, SIZE, Column("N*", wording.tasks, "exact"), *_TIMES, NOTE),
            "No pretraining to forecast for.",
            meanings=forecast.BREAK_EVEN_COLUMNS,
        ),
        Table(
            "break_even_readings",
            "The paper's figures by both readings",
            "From the GPU-hours that arXiv 2412.10665, section IV.3, prints at 1e7 events per class: T_pre = 45.5, T_scratch = "
            "2.94, T_finetune = 38 % of T_scratch.",
            breakeven.readings(),
            (
                plain("reading"),
                plain("formula"),
                written("value", "value"),
                plain("break-even", "tasks"),
                plain("what it does", "explanation"),
            ),
            meanings=breakeven.READING_COLUMNS,
        ),
    ]


def convergence_tables(results: Results) -> list[Table]:
    """How long a training takes."""
    merit = results.merit
    return [
        Table(
            "convergence",
            f"Time to the baseline's {merit.title}",
            f"Device time until the validation {merit.title} reaches 99 % of the baseline's final one, over the baseline's total "
            "time (arXiv 2412.10665, Fig. 1): mean ± standard deviation over the seeds that reached it (n), Student's t interval "
            "of that mean, and the median over all seeds, those that never got there counted as infinite.",
            results.time_ratios,
            (
                *CELL,
                in_words("time ratio", "ratio"),
                interval(digits=2),
                written("median", "median", digits=2),
                Column("reached", lambda row: f"{row['n_reached']} of {row['n']}", "n_reached"),
                _UNIT,
                NOTE,
            ),
            "No treatment can be compared with training from scratch yet.",
            meanings=convergence.RATIO_COLUMNS,
        ),
        Table(
            "endings",
            "How trainings ended",
            "Reported trainings and pretrainings that ended at their cap of epochs (of trees: rounds) before they reached a "
            f"plateau, and trainings whose test {endings.judge_of_chance(merit).title} is not two standard errors of the test "
            "sample above a coin's. "
            f"With more than {endings.MOST_CAPPED:.0%} at the cap no gain and no break-even is worded.",
            results.endings,
            (
                PRETRAINING,
                STRATEGY,
                SIZE,
                count("trainings", "n"),
                Column("at the cap", partial(_of_n, name="n_capped"), "capped"),
                Column("at chance", partial(_of_n, name="n_at_chance"), "at_chance"),
            ),
            "No record says how it ended.",
            links=False,
            meanings=endings.ENDING_COLUMNS,
        ),
        Table(
            "plateau",
            "Time to plateau",
            "Device-seconds of one training until its last improving epoch: mean ± standard deviation over the n seeds that "
            "reached a plateau; epochs: mean number trained, those after it included.",
            results.plateaus,
            (
                *CELL,
                in_words("seconds", "seconds"),
                written("epochs", "epochs"),
                count("without", "n_without", zero=""),
                *_processor(results.plateaus),
                NOTE,
            ),
            meanings=convergence.PLATEAU_COLUMNS,
        ),
        Table(
            "hours_forecast",
            "Device-hours at ten times the data",
            "Hours of one training until its plateau at ten times the largest size, from the law hours(n) = a + b n^c; trainings "
            "that reached no plateau count until their end. 90 % interval of the law, and of one new training.",
            results.hours_forecast,
            (
                *CELL,
                in_words("hours", "hours"),
                Column("90 %, one training", lambda row: _hours_between(row["prediction_low"], row["prediction_high"])),
                _UNIT,
                NOTE,
            ),
            meanings=forecast.HOURS_COLUMNS,
        ),
    ]


def hours_tables(results: Results) -> list[Table]:
    """Where the device time went."""
    several = results.cost["unit"].nunique() > 1
    return [
        Table(
            "cost",
            "Device-hours by stage",
            "As charged in the ledger. Useful: finished work. Stopped: search trials that were ended early because they were "
            "losing. Wasted: failed, interrupted or repeated work. Mean: one training until its plateau, one without a "
            "plateau until its end."
            + (
                " Published: the paper's mean in GPU-hours, at 1e7 events per class on other hardware."
                if results.in_paper
                else ""
            )
            + " All: every record of the study, also those that it reuses from others; what its own drivers alone held, used or "
            "not, is in the accounts."
            + " Energy: of the GPUs, by their own counters."
            + (" Hours on processors and on GPUs are summed apart, never together." if several else ""),
            results.cost,
            (
                plain("stage"),
                _UNIT,
                written("useful", "useful", wording.hours),
                Column("stopped", lambda row: wording.hours(row["stopped"]) if row["n_stopped"] else "", "stopped"),
                written("wasted", "wasted", wording.hours),
                count("n", "n"),
                count("failed", "n_failed", zero=""),
                written("mean", "mean", wording.hours),
                *([written("published", "published_mean", wording.significant)] if results.in_paper else []),
                written("energy, kWh", "energy_kwh", wording.significant),
                *_processor(results.cost),
                NOTE,
            ),
            meanings=hours.COST_COLUMNS,
        ),
    ]


def account_tables(results: Results) -> list[Table]:
    """What was reserved and what was expected, of the whole study."""
    facts = results.facts
    return [
        Table(
            "accounts",
            "Where the reserved time went",
            "Reserved is what this study's own drivers held, in device-hours by their clocks; shares of it by the workers' "
            "clocks. Idle is time held and not used: starting, waiting, reading, a core that other programs took. What was "
            "reused from other studies is in no row.",
            results.accounts,
            (
                plain("stage"),
                _UNIT,
                written("reserved", "reserved", wording.hours),
                *map(_share, ("useful", "search", "wasted", "idle", "unaccounted")),
                count("reservations", "n_reservations"),
            ),
            "No driver of this study has reserved a device.",
            meanings=accounts.COLUMNS,
        ),
        Table(
            "price",
            "Price and outcome",
            "Device-hours expected before the study began"
            + (f" ({facts['price_origin']})" if facts.get("price_origin") else "")
            + ", with the range that was thought likely, beside what its records were charged: of the work that was done since. "
            "What there was before, which the expectation is made from, is on neither side.",
            pd.DataFrame(facts.get("price") or [], columns=list(_PRICE)),
            (
                plain("stage"),
                written("expected", "expected", wording.hours),
                Column("likely", lambda row: _hours_between(row["low"], row["high"])),
                written("taken", "taken", wording.hours),
                Column("off by", lambda row: f"{row['off']:+.0%}" + ("" if row["within"] else ", outside"), "off"),
            ),
            "No price was made before the study, or nothing was done since.",
            meanings=_PRICE,
        ),
    ]


_PRICE = columns("""
    stage: generation, pretraining, search or training
    expected: device-hours expected before the study began
    low: lower end of the range thought likely
    high: upper end of the range thought likely
    taken: device-hours that the records were charged
    off: taken / expected - 1
    within: whether the outcome lies in the likely range
""")


def _saves_on(row: Row) -> str:
    return f"{int(row['n_saving'])} of {row['n_tasks']}" if wording.known(row["n_saving"]) else ""


def _seconds(row: Row, name: str) -> str:
    return duration(row[name]) if wording.known(row[name]) else ""


def _saving_between(row: Row) -> str:
    low, high = row["saving_seconds_low"], row["saving_seconds_high"]
    digits = wording.decimals((high - low) / 2)
    return wording.between(low, high, digits, sign=True)


def _of_n(row: Row, name: str) -> str:
    return f"{row[name]} ({wording.significant(100 * row[name] / row['n'], 2)} %)" if row[name] else "0"


def _processor(rows: pd.DataFrame) -> tuple[Column, ...]:
    """Shown where there are several: one alone stands under provenance."""
    return (plain("processor"),) if rows["processor"].nunique() > 1 else ()


def _hours_between(low: float, high: float) -> str:
    return f"{format_hours(low)} to {format_hours(high)}" if wording.known(low) else ""


def _share(name: str) -> Column:
    def text(row: Row) -> str:
        part = row[name] / row["reserved"] if row["reserved"] else 0.0
        return f"{100 * part:.1f} %" if abs(part) >= 5e-4 else "0"

    return Column(name, text, name)
