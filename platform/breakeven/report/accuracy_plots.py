"""Plots of accuracy: against size, gains, rejection, fewer events, scaling laws with their forecasts, ratio responses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis import published
from breakeven.metric import MERIT, shown
from breakeven.report import wording
from breakeven.report.plot import Panel, Plot, Series, with_bounds
from breakeven.report.results import Results
from breakeven.report.table import Row, cell_of

EVENTS = "training events per class"


def accuracy_plot(results: Results) -> Plot:
    """Test accuracy, and AUC, against size; one panel a task; the paper's points behind."""
    cells = results.cells[results.cells["n"] > 0]
    variants = {}
    for metric in shown(MERIT):
        column, axis = metric.name, f"test {metric.title} ({metric.unit})"
        known = cells[cells[column].notna()]
        spread = known.assign(low=known[column] - known[f"{column}_sd"], high=known[column] + known[f"{column}_sd"])
        panels = [
            Panel(results.title(task), EVENTS, axis, (*(_published(rows, "accuracy") if metric.merit else ()),
                  *lines(rows, column, partial(wording.mean, name=column))), x_ticks=_sizes(rows))
            for task, rows in by_task(spread)
        ]  # fmt: skip
        if panels:
            variants[metric.title] = tuple(panels)
    return Plot(
        "accuracy",
        "Accuracy against training events",
        "Mean over seeds on test events; error bars: standard deviation over seeds, none for n=1. Faint and hollow: "
        "arXiv 2412.10665, Table 1, whose samples and training length are other than ours.",
        variants,
        "quantity",
    )


def gain_plot(results: Results) -> Plot:
    """Gain over scratch against size with its interval."""
    gains = results.gains[results.gains["n"] > 0].rename(columns={"gain_low": "low", "gain_high": "high"})
    panels = [
        Panel(results.title(task), EVENTS, "gain (percentage points)",
              (*_published(rows, "gain"), *lines(rows, "gain", lambda row: wording.mean(row, "gain", sign=True))),
              x_ticks=_sizes(rows), references=((0.0, "scratch"),))
        for task, rows in by_task(gains)
    ]  # fmt: skip
    return Plot(
        "gain",
        "Gain over training from scratch",
        "Test accuracy minus that of scratch with the same seed and the same events, mean over pairs; error bars: 90 % "
        "Student's t interval of the mean, none for n=1. Faint and hollow: arXiv 2412.10665, Table 1.",
        {"": tuple(panels)},
    )


def rejection_plot(results: Results) -> Plot:
    """Working points against size."""
    points = results.working_points[results.working_points["n"] > 0]
    variants = {}
    for quantity, rows in points.groupby("quantity", sort=False):
        variants[str(quantity)] = tuple(
            Panel(results.title(task), EVENTS, str(quantity).split(" at ")[0],
                  tuple(lines(here, "value", lambda row: row["text"])), x_ticks=_sizes(here))
            for task, here in by_task(rows)
        )  # fmt: skip
    return Plot(
        "rejection",
        "What it is worth to an analysis",
        "Background rejection = 1 / (background efficiency) at fixed signal efficiency, and the significance improvement; mean "
        "over seeds on test events, error bars: 90 % Student's t interval of the mean. A point is missing where too few "
        "background events pass.",
        variants,
        "quantity",
    )


def data_efficiency_plot(results: Results) -> Plot:
    """Factor of fewer events against size; ends beyond the range are cut at the bound that is known."""
    rows = results.factors[results.factors["factor"].notna()]
    panels = []
    for task, here in by_task(rows):
        every = here["size"]
        top, bottom = every.max() / every, every.min() / every
        cut = here.assign(
            **{name: np.clip(here[name].astype(float), bottom, top) for name in ("factor", "low", "high")},
            beyond=np.where(np.isinf(here["factor"].astype(float)), 1, np.where(here["factor"] == 0, -1, 0)),
        )
        series = [part for line in lines(cut, "factor", lambda row: row["text"])
                  for part in with_bounds(line, _beyond(cut, line))]  # fmt: skip
        panels.append(Panel(results.title(task), EVENTS, "times fewer events", tuple(series), y_log=True,
                            x_ticks=_sizes(here), references=((1.0, "scratch"),)))  # fmt: skip
    return Plot(
        "data_efficiency",
        "How many times fewer events",
        "The size at which scratch is as accurate, over the size of the treatment; error bars: 90 % interval. Where that lies "
        "outside the sizes measured the point stands at the bound that is known, as a hollow triangle.",
        {"": tuple(panels)},
    )


def _beyond(rows: pd.DataFrame, line: Series) -> list[int]:
    """Of each point of a line, whether its factor is a bound: 1 above, -1 below, 0 neither."""
    by_cell = {cell_of(row): int(row["beyond"]) for row in rows.to_dict("records")}
    return [by_cell[cell] for cell in line.cells]


def law_plot(results: Results) -> Plot:
    """Test error against size with laws and their bands, a decade beyond the largest size."""
    cells = results.cells[results.cells["n"] > 0]
    share = 100 - cells[["accuracy", "accuracy_low", "accuracy_high"]]
    error = cells.assign(error=share["accuracy"], low=share["accuracy_high"], high=share["accuracy_low"])
    panels = []
    for task, rows in by_task(error):
        points = list(lines(rows, "error", _error_text, kind="markers"))
        refused = results.laws[(results.laws["task"] == task) & (results.laws["refusal"] != "")]
        said = [f"{wording.treatment(row['pretraining'], row['strategy'])}: {row['note']}"
                for row in refused.to_dict("records")]  # fmt: skip
        reasons = refused["note"].unique()
        every = len(refused) == len(results.laws[results.laws["task"] == task]) and len(reasons) == 1
        remark = f"No law is fitted: {reasons[0]}." if every else f"No law: {'; '.join(said)}." if said else ""
        panels.append(
            Panel(results.title(task), EVENTS, "test error (%)", (*_law_curves(results.law_curves, task), *points),
                  y_log=True, x_ticks=_sizes(rows), remark=remark)
        )  # fmt: skip
    return Plot(
        "scaling_laws",
        "Scaling laws and the next decade",
        "Test error against events per class: means over seeds with 90 % Student's t intervals, and the law a + b n^-c with its "
        "90 % band. Dashed: forecast beyond the largest size measured. A law that the data do not fix is refused, not drawn.",
        {"": tuple(panels)},
    )


def ratio_plot(results: Results) -> Plot:
    """Validation loss above the optimum against the learning-rate ratio, one variant a size."""
    keys = ["task", "pretraining", "strategy", "size"]
    variants: dict[str, tuple[Panel, ...]] = {}
    for size, at_size in results.responses[results.responses["n"] > 0].groupby("size"):
        panels = []
        for task, rows in by_task(at_size):
            series: list[Series] = []
            for key, points in rows.groupby(keys, sort=False):
                fitted = results.response_curves
                fitted = fitted[(fitted[keys] == list(key)).all(axis=1)]
                series += _responses(points.sort_values("ratio"), fitted)
            panels.append(Panel(results.title(task), "backbone rate / head rate", "validation loss above the optimum",
                                tuple(series), references=((0.0, ""),)))  # fmt: skip
        variants[f"{size:,}"] = tuple(panels)
    return Plot(
        "ratio_responses",
        "What the learning-rate ratio does",
        "Search trials only, validation events: points are means over search seeds, the line is the quadratic in log10(ratio) "
        "with its 90 % band; a cell with fewer than three ratios has no curve, and its points are above its own lowest. The "
        "paper uses 0.1.",
        variants,
        EVENTS,
    )


def by_task(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows of each task, in the order of the ledger."""
    for task in ledger_frame.ordered_tasks(rows):
        yield task, rows[rows["task"] == task]


def lines(
    rows: pd.DataFrame, y: str, text: Callable[[Row], str] | None = None, x: str = "size", kind: str = "points"
) -> Iterator[Series]:
    """A series for each treatment, with the columns low and high as its uncertainty; text: of each point, if anything."""
    for pretraining, strategy in ledger_frame.treatments(rows):
        line = rows[(rows["pretraining"] == pretraining) & (rows["strategy"] == strategy)].sort_values(x, kind="stable")
        records = line.to_dict("records") if text else []
        at, value, low, high = (numbers(line[name]) for name in (x, y, "low", "high"))
        yield Series(wording.treatment(pretraining, strategy), pretraining, strategy, at, value, low, high, kind,
                     texts=tuple(text(row) for row in records) if text else (), cells=tuple(map(cell_of, records)))  # fmt: skip


def numbers(column: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in column)


def _sizes(rows: pd.DataFrame) -> tuple[float, ...]:
    return numbers(sorted(set(rows["size"])))


def _error_text(row: Row) -> str:
    return f"error {row['error']:.1f} %: accuracy {wording.mean(row, 'accuracy')}"


def published_sizes(sizes: tuple[float, ...]) -> list[int]:
    """The paper's sizes that ours reach, or its smallest where that is at most a decade above our largest."""
    every = sorted({int(size) for size in published.accuracy()["events_per_class"]})
    reached = [size for size in every if sizes[0] / 1.5 <= size <= sizes[-1] * 1.5]
    return reached or [size for size in every[:1] if sizes[-1] < size <= sizes[-1] * 10]


def _published(rows: pd.DataFrame, quantity: str) -> Iterator[Series]:
    """The paper's Table 1 at these sizes: accuracies of all, or gains."""
    first, sizes = rows.iloc[0], published_sizes(_sizes(rows))
    tuned = sorted(set(rows.loc[rows["strategy"] == "finetune", "pretraining"]))
    for pretraining in [*(["none"] if quantity == "accuracy" else []), *tuned]:
        points = []
        for size in sizes:
            baseline = published.accuracy_value(first["signal"], first["background"], "none", size)
            gain = published.accuracy_value(first["signal"], first["background"], pretraining, size)
            if baseline and gain:
                treated = pretraining != "none"
                level = baseline[0] if quantity == "accuracy" else 0.0
                error = math.hypot(baseline[1], gain[1]) if treated and quantity == "accuracy" else gain[1]
                points.append((size, level + (gain[0] if treated else 0.0), error))
        if points:
            x, y, errors = (np.array(column, dtype=float) for column in zip(*points, strict=True))
            strategy = "scratch" if pretraining == "none" else "finetune"
            label = f"published, {wording.treatment(pretraining, strategy)}"
            said = tuple(f"{value:.1f} ± {u:.1f} (arXiv 2412.10665)" for value, u in zip(y, errors, strict=True))
            yield Series(label, pretraining, strategy, numbers(x), numbers(y), numbers(y - errors), numbers(y + errors),
                         "published", texts=said)  # fmt: skip


def _law_curves(curves: pd.DataFrame, task: str) -> Iterator[Series]:
    rows = curves[curves["task"] == task]
    errors = rows.assign(error=100 - rows["accuracy"], low=100 - rows["high"], high=100 - rows["low"])
    for curve in lines(errors, "error", kind="curve"):
        of_curve = (rows["pretraining"] == curve.pretraining) & (rows["strategy"] == curve.strategy)
        yield replace(curve, split=float(rows.loc[of_curve & ~rows["forecast"].astype(bool), "size"].max()))


def _responses(points: pd.DataFrame, fitted: pd.DataFrame) -> list[Series]:
    """What was measured and the curve through it, both above the loss of the curve's optimum."""
    pretraining, strategy = str(points["pretraining"].iloc[0]), str(points["strategy"].iloc[0])
    label, loss = wording.treatment(pretraining, strategy), points["loss"].to_numpy(dtype=float)
    found, level = [], float(loss.min())
    if len(fitted):
        at_points = np.interp(
            np.log10(points["ratio"].to_numpy(dtype=float)), np.log10(fitted["ratio"]), fitted["excess"]
        )
        level = float(np.average(loss - at_points, weights=points["n"]))
        found.append(Series(label, pretraining, strategy, numbers(fitted["ratio"]), numbers(fitted["excess"]),
                            numbers(fitted["low"]), numbers(fitted["high"]), "curve"))  # fmt: skip
    texts = [f"loss {row['loss']:.4f}, validation accuracy {row['accuracy']:.1f} % (n={row['n']})"
             + (f", {row['n_stopped']} stopped" if row["n_stopped"] else "") for row in points.to_dict("records")]  # fmt: skip
    cells = tuple(cell_of(row) for row in points.to_dict("records"))
    return [*found, Series(label, pretraining, strategy, numbers(points["ratio"]), numbers(loss - level), kind="markers",
                           texts=tuple(texts), cells=cells)]  # fmt: skip
