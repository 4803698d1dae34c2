"""Plots of time: curves while training, time to the baseline's accuracy, break-even, device-hours by stage."""

import math

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.cost.baseline import SCRATCH
from breakeven.duration import format_hours
from breakeven.report import wording
from breakeven.report.accuracy_plots import EVENTS, axis, by_size, by_task, lines, numbers, sizes_of
from breakeven.report.plot import Bars, Panel, Plot, Series, with_bounds
from breakeven.report.results import Results
from breakeven.report.table import Row


def convergence_plot(results: Results) -> Plot:
    """The paper's Figure 1."""
    rows = results.time_ratios[results.time_ratios["n_reached"] > 0]
    panels = []
    for task, of_task in by_task(rows.assign(low=rows["low"].clip(lower=0.0))):
        series = lines(of_task, "ratio", lambda row: f"{row['text']}; reached by {row['n_reached']} of {row['n']}")
        panels.append(by_size(task, of_task, "time / baseline's total time", *series, references=((1.0, "baseline"),)))
    return Plot(
        "convergence",
        f"Time to the baseline's {results.merit.title}",
        f"Device time until 99 % of the baseline's final validation {results.merit.title}, over the baseline's total time (arXiv "
        "2412.10665, Fig. 1); mean over the seeds that got there, error bars: 90 % Student's t interval. A point stands for "
        "those seeds alone; its words say how many.",
        {"": tuple(panels)},
    )


def events_curves_plot(results: Results) -> Plot:
    """The figure of merit on validation events against events seen, one variant a size, the largest first."""
    return _curves_plot(results, "curves_events", results.curves_by_events, "events_seen", "events")


def hours_curves_plot(results: Results) -> Plot:
    """The figure of merit on validation events against device-hours, one variant a size, the largest first."""
    curves = results.curves_by_hours[results.curves_by_hours["unit"] != "mixed"]
    more = " Cells that were trained on two kinds of device have no curve here."
    return _curves_plot(results, "curves_hours", curves, "device_hours", "device-hours", more)


def _curves_plot(results: Results, name: str, curves: pd.DataFrame, against: str, words: str, more: str = "") -> Plot:
    merit, variants = results.merit, {}

    def text(row: Row) -> str:
        value = f"{row[merit.name]:.{merit.digits}f} {merit.unit}".rstrip()
        return f"{value} (n={row['n']}, {row['n_running']} still training)"

    for size in sorted(set(curves["size"]), reverse=True):
        panels = []
        for task, rows in by_task(curves[curves["size"] == size]):
            for unit, of_unit in rows.groupby("unit") if against == "device_hours" else [("", rows)]:
                x_title = wording.UNITS[str(unit)] if unit else "training events seen"
                series = tuple(lines(of_unit, merit.name, text, against, "curve"))
                panels.append(Panel(ledger_frame.title(task), x_title, f"validation {axis(merit)}", series))
        variants[f"{size:,}"] = tuple(panels)
    return Plot(
        name,
        f"{merit.heading} while training, against {words}",
        f"Validation {merit.title} while training, mean over seeds, band: 90 % Student's t interval of the mean, none for n=1; "
        "from a seed's end on it counts with the weights that it kept. The pretraining's own time is not on this axis."
        + more,
        variants,
        EVENTS,
    )


def break_even_plot(results: Results) -> Plot:
    """N* against size for each way of charging; never stands on a line at the top."""
    variants: dict[str, tuple[Panel, ...]] = {}
    every = results.break_even[results.break_even["size"].notna() & (results.break_even["text"] != "no figure")]
    for (charged, baseline), rows in every.groupby(["charged", "baseline"], sort=False):
        finite = [value for name in ("exact", "high") for value in rows[name].astype(float) if math.isfinite(value)]
        top = 10.0 ** (math.floor(math.log10(max([*finite, 10.0]))) + 1)
        series: list[Series] = []
        for pretraining, line in rows.groupby("pretraining", sort=False):
            line = line.sort_values("size")
            texts = tuple(wording.tasks(row) for row in line.to_dict("records"))
            y = line["exact"].astype(float).fillna(top)
            low, high = (line[name].astype(float).clip(upper=top) for name in ("low", "high"))
            whole = Series(str(pretraining), str(pretraining), "finetune", numbers(line["size"]), numbers(y), numbers(low),
                           numbers(high), texts=texts)  # fmt: skip
            series += with_bounds(whole, [int(never) for never in line["exact"].isna()])
        against = "" if baseline == SCRATCH else f", against the {baseline}"
        variants[f"{charged}{against}"] = (
            Panel("", EVENTS, "break-even (tasks)", tuple(series), y_log=True,
                  x_ticks=sizes_of(rows), references=((top, "never"),)),
        )  # fmt: skip
    return Plot(
        "break_even",
        "Break-even against training events",
        "N* = T_pre / (mean T_scratch - mean T_finetune) by events per class, every task of the study counting the same; error "
        "bars: 90 % interval for tasks like these. What stands on the line “never” saves nothing; an interval that reaches it "
        "does not exclude that.",
        variants,
        "charged",
    )


def bill_plot(results: Results) -> Plot:
    """Device-hours of so many tasks with and without a backbone: the crossing is break-even."""
    variants: dict[str, tuple[Panel, ...]] = {}
    rows = results.by_headline[results.by_headline["baseline"] == SCRATCH]
    for size in [*sorted(set(rows["size"].dropna())), None]:
        at_size = rows[rows["size"].isna()] if size is None else rows[rows["size"] == size]
        panels = []
        for row in at_size[at_size["text"] != "no figure"].to_dict("records"):
            crossing = row["exact"] if wording.known(row["exact"]) else 0.0
            n = np.linspace(0, min(max(2.5 * crossing, 20.0), 1000.0), 41)
            scratch, tuned = n * row["scratch_hours"], row["pretraining_hours"] + n * row["finetuning_hours"]
            bills = [
                Series(words, pretraining, strategy, numbers(n), numbers(hours), kind="curve",
                       texts=tuple(f"{count:.0f} tasks: {format_hours(spent)}" for count, spent in zip(n, hours, strict=True)))
                for words, pretraining, strategy, hours in (
                    ("from scratch", "none", "scratch", scratch),
                    (wording.treatment(row["pretraining"], "finetune"), row["pretraining"], "finetune", tuned),
                )
            ]  # fmt: skip
            panels.append(Panel(f"{row['pretraining']}: {wording.tasks(row)}", "tasks", wording.UNITS[row["unit"]],
                                tuple(bills), x_log=False))  # fmt: skip
        if panels:
            variants["all sizes" if size is None else f"{size:,}"] = tuple(panels)
    return Plot(
        "bill",
        "The bill, with and without a backbone",
        "Device-hours of N tasks until each training stopped: N T_scratch, and T_pre + N T_finetune. Where the lines cross "
        "pretraining begins to pay. The interval stands in the title of each panel.",
        dict(reversed(variants.items())),
        EVENTS,
    )


def cost_plot(results: Results) -> Plot:
    """Device-hours by stage and what became of them, and the accounts of the reserved time; kinds of device apart."""
    variants = {}
    for words, table, parts in (
        ("charged", results.cost, ("useful", "stopped", "wasted")),
        ("reserved", results.accounts, ("useful", "search", "wasted", "idle")),
    ):
        panels = []
        for unit in sorted(set(table["unit"])):
            rows = table[(table["unit"] == unit) & (table["stage"] != "all")]
            bars = tuple(Bars(part, tuple(rows["stage"]), numbers(rows[part].clip(lower=0.0))) for part in parts)
            panels.append(Panel(wording.UNITS[unit], wording.UNITS[unit], "", bars=bars, x_log=False))
        if panels:
            variants[words] = tuple(panels)
    return Plot(
        "cost",
        "Where the device time went",
        "Charged: what the records of each stage were charged, reused ones included. Reserved: what this study's drivers held, "
        "and what nobody used of it. Sums of measured times: they have no statistical uncertainty.",
        variants,
        "hours",
    )
