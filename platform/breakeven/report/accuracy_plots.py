"""Plots of the figure of merit: against size, gains, rejection, fewer events, laws with their forecasts, ratio responses."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis import published
from breakeven.metric import Metric, shown
from breakeven.report import wording
from breakeven.report.plot import Panel, Plot, Series, with_bounds
from breakeven.report.results import Results
from breakeven.report.table import Row, cell_of

EVENTS = "training events per class"


def accuracy_plot(results: Results) -> Plot:
    """The metrics of test events against size; one panel a task; the paper's points behind those of accuracy."""
    cells = results.cells[results.cells["n"] > 0]
    variants = {}
    for metric in shown(results.merit):
        name, text = metric.name, partial(mean_text, results=results, metric=metric)
        panels = [
            by_size(task, rows, f"test {axis(metric)}", *published_points(rows, metric), *lines(rows, name, text),
                    y_log=metric.by_factors)
            for task, rows in by_task(spread(cells[cells[name].notna()], metric))
        ]  # fmt: skip
        if panels:
            variants[metric.title] = tuple(panels)
    return Plot(
        "accuracy",
        f"{results.merit.heading} against training events",
        "Mean over seeds on test events, of rejections the geometric one; error bars: standard deviation over seeds, none for "
        "n=1." + faint(results),
        variants,
        "quantity",
    )


def gain_plot(results: Results) -> Plot:
    """Gain over scratch against size with its interval."""
    merit = results.merit
    gains = results.gains[results.gains["n"] > 0].rename(columns={"gain_low": "low", "gain_high": "high"})
    text = partial(wording.mean, name="gain", digits=merit.digits, sign=True)
    panels = [
        by_size(task, rows, f"gain ({merit.points})", *published_points(rows, merit, gains=True), *lines(rows, "gain", text),
                 references=((0.0, "scratch"),))
        for task, rows in by_task(gains)
    ]  # fmt: skip
    return Plot(
        "gain",
        "Gain over training from scratch",
        f"Test {merit.title} minus that of scratch with the same seed and the same events, mean over pairs; error bars: 90 % "
        "Student's t interval of the mean, none for n=1." + faint(results),
        {"": tuple(panels)},
    )


def rejection_plot(results: Results) -> Plot:
    """Working points against size."""
    points = results.working_points[results.working_points["n"] > 0]
    words = points["quantity"].where(points["weighting"] == "", points["quantity"] + ", " + points["weighting"])
    variants = {
        str(quantity): tuple(
            by_size(task, of_task, str(quantity).split(" at ")[0], *_with_lower_bounds(of_task, "value", _counted),
                    y_log=str(quantity).startswith("background"))
            for task, of_task in by_task(rows)
        )
        for quantity, rows in points.groupby(words, sort=False)
    }  # fmt: skip
    if results.merit.by_factors:
        variants = dict(sorted(variants.items(), key=lambda named: not named[0].startswith(results.merit.title)))
    return Plot(
        "rejection",
        "What it is worth to an analysis",
        "Background rejection = 1 / (background efficiency) at fixed signal efficiency, and the significance improvement; mean "
        "over seeds on test events, of rejections the geometric one; error bars: 90 % interval of the mean. By cross section: "
        "each background event by what it stands for. A hollow triangle: at least so much, as of a seed no background event "
        "passes.",
        variants,
        "quantity",
    )


def process_plot(results: Results) -> Plot:
    """Rejection of each process of the signal, against the number that ends its name, as the mass of a resonance."""
    rows = results.by_process[results.by_process["parameter"].notna()]
    panels = []
    for task, of_task in by_task(rows):
        series = _with_lower_bounds(of_task, "rejection", _counted, x="parameter")
        stems = dict.fromkeys(of_task["process"].str.rstrip("0123456789."))
        title = "N of the signal " + " or ".join(f"{stem}N" for stem in stems)
        panels.append(Panel(ledger_frame.title(task), title, "background rejection", tuple(series), y_log=True,
                            x_ticks=numbers(sorted(set(of_task["parameter"])))))  # fmt: skip
    return Plot(
        "by_process",
        f"{results.rejection.heading} of each process of the signal",
        "At the largest size, against all of the background; geometric mean over seeds, 90 % interval of seeds and test sample. "
        "A hollow triangle: at least so much, as of a seed no background event passes.",
        {"": tuple(panels)},
    )


def data_efficiency_plot(results: Results) -> Plot:
    """Factor of fewer events against size; ends beyond the range are cut at the bound that is known."""
    references = {"scratch": results.factors, "frozen": results.factors_over_frozen}
    variants = {f"over {words}": _factor_panels(factors[factors["factor"].notna()])
                for words, factors in references.items() if factors["factor"].notna().any()}  # fmt: skip
    return Plot(
        "data_efficiency",
        "How many times fewer events",
        "The size at which the reference is as good, over the size of the treatment; error bars: 90 % interval. Where that lies "
        "outside the sizes measured the point stands at the bound that is known, as a hollow triangle.",
        variants,
        "reference",
    )


def _factor_panels(factors: pd.DataFrame) -> tuple[Panel, ...]:
    panels = []
    for task, rows in by_task(factors):
        factor, bounds = (
            rows["factor"].astype(float),
            [rows["size"].min() / rows["size"], rows["size"].max() / rows["size"]],
        )
        cut = rows.assign(
            **{name: np.clip(rows[name].astype(float), *bounds) for name in ("factor", "low", "high")},
            beyond=np.where(np.isinf(factor), 1, np.where(factor == 0, -1, 0)),
        )
        beyond = {cell_of(row): int(row["beyond"]) for row in cut.to_dict("records")}
        series = [part for line in lines(cut, "factor", _text)
                  for part in with_bounds(line, [beyond[cell] for cell in line.cells])]  # fmt: skip
        reference = str(rows["reference"].iloc[0])
        panels.append(by_size(task, rows, "times fewer events", *series, y_log=True, references=((1.0, reference),)))
    return tuple(panels)


def law_plot(results: Results) -> Plot:
    """Test error against size with laws and their bands, a decade beyond the largest size."""
    merit, cells, laws = results.merit, results.cells[results.cells["n"] > 0], results.laws
    unit = "%" if merit.unit and merit.higher_is_better else merit.error_measure
    panels = []
    for task, rows in by_task(_as_errors(cells, merit, f"{merit.name}_low", f"{merit.name}_high")):
        points = lines(rows, "error", partial(_error_text, merit=merit), kind="markers")
        of_task = laws[laws["task"] == task]
        refused = of_task[of_task["refusal"] != ""]
        reasons = refused["note"].unique()
        said = [f"{wording.treatment(row['pretraining'], row['strategy'])}: {row['note']}"
                for row in refused.to_dict("records")]  # fmt: skip
        every = len(refused) == len(of_task) and len(reasons) == 1
        remark = f"No law is fitted: {reasons[0]}." if every else f"No law: {'; '.join(said)}." if said else ""
        curves = _law_curves(results.law_curves[results.law_curves["task"] == task], merit)
        panels.append(by_size(task, rows, f"test error ({unit})", *curves, *points, y_log=True, remark=remark))
    return Plot(
        "scaling_laws",
        "Scaling laws and the next decade",
        "Test error against events per class: means over seeds with 90 % Student's t intervals, and the law a + b n^-c with its "
        "90 % band. Dashed: forecast beyond the largest size measured. A law that the data do not fix is refused, not drawn.",
        {"": tuple(panels)},
    )


def ratio_plot(results: Results) -> Plot:
    """Validation loss above the optimum against the learning-rate ratio, one variant a size."""
    curves, keys = results.response_curves, ledger_frame.CELL
    variants: dict[str, tuple[Panel, ...]] = {}
    for size, at_size in results.responses[results.responses["n"] > 0].groupby("size"):
        panels = []
        for task, rows in by_task(at_size):
            series: list[Series] = []
            for key, points in rows.groupby(keys, sort=False):
                fitted = curves[(curves[keys] == list(key)).all(axis=1)]
                series += _responses(points.sort_values("ratio"), fitted, results.merit)
            panels.append(Panel(ledger_frame.title(task), "learning-rate ratio", "validation loss above the optimum",
                                tuple(series), references=((0.0, ""),)))  # fmt: skip
        variants[f"{size:,}"] = tuple(panels)
    return Plot(
        "ratio_responses",
        "What the learning-rate ratio does",
        "Search trials only, validation events: points are means over search seeds, the line is the quadratic in log10(ratio) "
        "with its 90 % band; a cell with fewer than three ratios has no curve, and its points are above its own lowest. "
        "Finetuned: backbone rate over head rate; from scratch: rate over the published one.",
        variants,
        EVENTS,
    )


def mean_text(row: Row, results: Results, metric: Metric) -> str:
    """`84.8 ± 1.1 (n=3)`, of a rejection with what passes: ` (115 to 130 of 1,875 background events pass)`."""
    return wording.mean(row, metric.name, digits=metric.digits) + passing_words(results.passing_of(row, metric))


def passing_words(counts: str) -> str:
    """What is said after a rejection of the background events that pass."""
    return f" ({counts} background events pass)" if counts else ""


def spread(rows: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """With the columns low and high: a standard deviation over seeds to either side, of what scatters by factors a factor."""
    value, deviation = rows[metric.name], rows[f"{metric.name}_sd"]
    if metric.by_factors:
        return rows.assign(low=value * np.exp(-deviation / value), high=value * np.exp(deviation / value))
    return rows.assign(low=value - deviation, high=value + deviation)


def axis(metric: Metric) -> str:
    """Title and unit of a metric, for an axis."""
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title


def by_task(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows of each task, in the order of the ledger."""
    for task in ledger_frame.ordered_tasks(rows):
        yield task, rows[rows["task"] == task]


def lines(
    rows: pd.DataFrame,
    y: str,
    text: Callable[[Row], str] | None = None,
    x: str = "size",
    kind: str = "points",
    *,
    linked: bool = True,
) -> Iterator[Series]:
    """A series for each treatment, with the columns low and high as its uncertainty; text: of each point, if anything.

    linked: whether a point stands for one cell, whose trials it leads to.
    """
    for pretraining, strategy in ledger_frame.treatments(rows):
        line = rows[(rows["pretraining"] == pretraining) & (rows["strategy"] == strategy)].sort_values(x, kind="stable")
        records = line.to_dict("records") if text else []
        at, value, low, high = (numbers(line[name]) for name in (x, y, "low", "high"))
        yield Series(wording.treatment(pretraining, strategy), pretraining, strategy, at, value, low, high, kind,
                     texts=tuple(text(row) for row in records) if text else (),
                     cells=tuple(map(cell_of, records)) if linked else ())  # fmt: skip


def numbers(column: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in column)


def _with_lower_bounds(rows: pd.DataFrame, y: str, text: Callable[[Row], str], **how: Any) -> Iterator[Series]:
    """`lines`, of which points without an upper end only say `at least`."""
    for line in lines(rows, y, text, **how):
        beyond = [math.isinf(high) for high in line.high]
        ends = tuple(value if far else high for far, value, high in zip(beyond, line.y, line.high, strict=True))
        yield from with_bounds(replace(line, high=ends), list(map(int, beyond)))


def sizes_of(rows: pd.DataFrame) -> tuple[float, ...]:
    """Where ticks stand below panels against size."""
    return numbers(sorted(set(rows["size"])))


def by_size(task: str, rows: pd.DataFrame, y_title: str, *series: Series, **more: Any) -> Panel:
    """A panel of one task against the sizes of `rows`."""
    return Panel(ledger_frame.title(task), EVENTS, y_title, series, x_ticks=sizes_of(rows), **more)


def _text(row: Row) -> str:
    return str(row["text"])


def _counted(row: Row) -> str:
    effective = f" (effective {row['effective']:.1f})" if wording.known(row["effective"]) else ""
    return str(row["text"]) + passing_words(row["passing"] + effective if row["passing"] else "")


def _as_errors(rows: pd.DataFrame, merit: Metric, low: str, high: str) -> pd.DataFrame:
    """With columns error, low and high; a share as its complement in percent."""

    def error(values: pd.Series) -> pd.Series:
        return 100 - values if merit.higher_is_better and merit.unit else merit.error(values)

    ends = [error(rows[name]) for name in (low, high)]
    least, most = ends[::-1] if merit.higher_is_better else ends
    return rows.assign(error=error(rows[merit.name]), low=least, high=most)


def _error_text(row: Row, merit: Metric) -> str:
    unit = f" {merit.unit}" if merit.unit else ""
    text = wording.mean(row, merit.name, digits=merit.digits)
    return f"error {row['error']:.{merit.digits}f}{unit}: {merit.title} {text}"


def published_sizes(sizes: tuple[float, ...]) -> list[int]:
    """The paper's sizes that ours reach, or its smallest where that is at most a decade above our largest."""
    every = sorted({int(size) for size in published.accuracy()["events_per_class"]})
    reached = [size for size in every if sizes[0] / 1.5 <= size <= sizes[-1] * 1.5]
    return reached or [size for size in every[:1] if sizes[-1] < size <= sizes[-1] * 10]


def published_points(rows: pd.DataFrame, metric: Metric, *, gains: bool = False) -> Iterator[Series]:
    """The paper's Table 1 at these sizes: accuracies of all, or gains; nothing for other metrics."""
    if metric.name != published.METRIC:
        return
    first, sizes = rows.iloc[0], published_sizes(sizes_of(rows))
    tuned = sorted(set(rows.loc[rows["strategy"] == "finetune", "pretraining"]))
    printed = published.accuracy_value if gains else published.accuracy_at
    for pretraining in tuned if gains else ["none", *tuned]:
        found = {size: printed(first["signal"], first["background"], pretraining, size) for size in sizes}
        points = [(size, *value) for size, value in found.items() if value is not None]
        if points:
            x, y, errors = (np.array(column, dtype=float) for column in zip(*points, strict=True))
            strategy = "scratch" if pretraining == "none" else "finetune"
            label = f"published, {wording.treatment(pretraining, strategy)}"
            said = tuple(f"{value:.1f} ± {u:.1f} (arXiv 2412.10665)" for value, u in zip(y, errors, strict=True))
            yield Series(label, pretraining, strategy, numbers(x), numbers(y), numbers(y - errors), numbers(y + errors),
                         "published", texts=said)  # fmt: skip


def faint(results: Results) -> str:
    """What a caption says of `published_points`."""
    if not (results.in_paper and results.merit.name == published.METRIC):
        return ""
    return " Faint and hollow: arXiv 2412.10665, Table 1, whose samples and training length are other than ours."


def _law_curves(curves: pd.DataFrame, merit: Metric) -> Iterator[Series]:
    for curve in lines(_as_errors(curves, merit, "low", "high"), "error", kind="curve"):
        of_curve = (curves["pretraining"] == curve.pretraining) & (curves["strategy"] == curve.strategy)
        yield replace(curve, split=float(curves.loc[of_curve & ~curves["forecast"].astype(bool), "size"].max()))


def _responses(points: pd.DataFrame, fitted: pd.DataFrame, merit: Metric) -> Iterator[Series]:
    """The fitted curve, and what was measured, both above the loss of the curve's optimum."""
    pretraining, strategy = str(points["pretraining"].iloc[0]), str(points["strategy"].iloc[0])
    label, loss = wording.treatment(pretraining, strategy), points["loss"].to_numpy(dtype=float)
    level = float(loss.min())
    if len(fitted):
        at_points = np.interp(np.log10(points["ratio"].to_numpy(float)), np.log10(fitted["ratio"]), fitted["excess"])
        level = float(np.average(loss - at_points, weights=points["n"]))
        ratio, excess, low, high = (numbers(fitted[name]) for name in ("ratio", "excess", "low", "high"))
        yield Series(label, pretraining, strategy, ratio, excess, low, high, "curve")
    rows = points.to_dict("records")
    texts = (f"loss {row['loss']:.4f}, validation {merit.title} {row[merit.name]:.{merit.digits}f} {merit.unit}".rstrip()
             + f" (n={row['n']})" + (f", {row['n_stopped']} stopped" if row["n_stopped"] else "") for row in rows)  # fmt: skip
    yield Series(label, pretraining, strategy, numbers(points["ratio"]), numbers(loss - level), kind="markers",
                 texts=tuple(texts), cells=tuple(map(cell_of, rows)))  # fmt: skip
