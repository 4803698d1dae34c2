"""What the next decade of data would bring: figure of merit, the size at which scratch catches up, hours, break-even.

Extrapolates the laws of scaling_law.py, always with an interval, and tests itself on the largest size measured. Never
forecasts from a law that was refused: such a row says why.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.cost import breakeven, intervals
from breakeven.analysis.cost.charges import Charge, pretraining_seconds
from breakeven.analysis.laws.scaling_law import (
    LEAST_SIZES,
    Family,
    Law,
    Refusal,
    count_of_sizes,
    fit_error_law,
    fit_growth,
)
from breakeven.analysis.resampling import generator, interval
from breakeven.analysis.statistics import interval_text
from breakeven.duration import format_hours
from breakeven.ledger.charge import hours_unit
from breakeven.metric import MERIT, Metric

DECADE = 10.0
HOURS_EXPONENTS = (-2.0, -0.02)
"""Hours grow with size, at most as its square."""
_SEARCHED_DECADES = 4


def forecast_columns(merit: Metric = MERIT) -> dict[str, str]:
    """The columns of `accuracy_forecast`."""
    return columns(f"""
        task pretraining strategy largest size
        {merit.name}: test {merit.title} by the law, {merit.measure}
        low high prediction_low prediction_high n text note
    """)


def accuracy_forecast(laws: Mapping[Family, Law], *, merit: Metric = MERIT) -> pd.DataFrame:
    """The figure of merit on test events at ten times the largest size of each family.

    low, high: of the law itself; the prediction's: of the mean over n new seeds, as many as at the largest size. Columns:
    forecast_columns.
    """
    rows = []
    for family, law in laws.items():
        size, n = DECADE * law.largest, int(law.means.n[-1]) if len(law.means.n) else 0
        error, of_law, of_seeds = _predict(law, size, n, (family, "new"))
        value, (low, high), new = merit.scale * merit.error(error), merit.ends(*of_law), merit.ends(*of_seeds)
        known = interval_text(low, high, lambda end: f"{end:.{merit.digits}f}")
        rows.append(
            {
                **ledger_frame.named(family), "largest": law.largest, "size": round(size), merit.name: value, "low": low,
                "high": high, "prediction_low": new[0], "prediction_high": new[1], "n": n, "note": law.note,
                "text": "no forecast" if law.fit is None else f"{value:.{merit.digits}f} {merit.unit}".rstrip() + known,
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(forecast_columns(merit)))


CATCH_UP_COLUMNS = columns("""
    task pretraining strategy largest
    events: events per class from which on scratch is as good; inf: never
    low high text note
""")


def catch_up(laws: Mapping[Family, Law], *, tolerance: float = 0.001) -> pd.DataFrame:
    """The size from which training from scratch is as good as each treatment, to this tolerance of the error.

    events: from where on scratch's law lies no more than `tolerance` above the other's, searched from the smallest size
    measured to four decades beyond the largest; infinite where there is none, as where the floors differ. What lies
    more than a decade beyond the largest size (measured by both) is given, but its text says only that: no law is known
    that far. Columns: CATCH_UP_COLUMNS.
    """
    rows = []
    for family, treated in laws.items():
        scratch = laws.get((family[0], "none", "scratch"))
        if family[2] == "scratch" or scratch is None:
            continue
        row = {**ledger_frame.named(family), "largest": min(treated.largest, scratch.largest), "text": "no forecast",
               "note": ledger_frame.notes(treated.note, scratch.note and f"scratch: {scratch.note}")}  # fmt: skip
        if treated.fit is not None and scratch.fit is not None:
            smallest, largest = max(treated.means.sizes[0], scratch.means.sizes[0]), row["largest"]
            sizes = np.geomspace(smallest, largest * 10.0**_SEARCHED_DECADES, 400)
            of_fits, of_draws = scratch.fit.at(sizes) - treated.fit.at(sizes), np.empty((0, len(sizes)))
            if scratch.drawn is not None and treated.drawn is not None:
                of_draws = scratch.drawn_at(sizes) - treated.drawn_at(sizes)
            size = float(_first_within(of_fits, sizes, tolerance)[0])
            low, high = map(float, interval(_first_within(of_draws, sizes, tolerance)))
            text = _catch_up_text(size, low, high, smallest, largest)
            row |= {"events": size, "low": low, "high": high, "text": text}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(CATCH_UP_COLUMNS))


def back_test_columns(merit: Metric = MERIT) -> dict[str, str]:
    """The columns of `back_test`."""
    return columns(f"""
        task pretraining strategy size
        predicted: predicted test {merit.title}, {merit.measure}
        prediction_low prediction_high
        measured: measured test {merit.title}, {merit.measure}
        error: predicted - measured, {merit.points}
        inside: whether the measured value lies in the prediction interval; empty: there is none
        n text note
    """)


def back_test(frame: pd.DataFrame, *, merit: Metric = MERIT, resamples: int = 1000) -> pd.DataFrame:
    """Each law fitted without its largest size, and how well it predicts that one.

    size: the one left out. The prediction interval is of the mean over the n seeds measured. Needs six sizes, as five are
    left. Columns: back_test_columns.
    """
    rows = []
    for family, trials in ledger_frame.families_of(ledger_frame.confirmed(frame)).items():
        sizes, errors = trials["size"].to_numpy(), merit.error(ledger_frame.measured(trials, merit)).to_numpy()
        largest, n_sizes = sizes.max(), len(set(sizes))
        there, last = sizes < largest, errors[(sizes == largest) & np.isfinite(errors)]
        law = fit_error_law(sizes[there], errors[there], (family, "back-test"), resamples)
        if n_sizes <= LEAST_SIZES:
            why = f"{count_of_sizes(n_sizes)}: a back-test needs {LEAST_SIZES + 1}"
            law = Law(law.means, refusal=Refusal.TOO_FEW_SIZES, note=why)
        error, _, of_seeds = _predict(law, float(largest), len(last), (family, "back-test"))
        predicted, (low, high) = merit.scale * merit.error(error), merit.ends(*of_seeds)
        measured = merit.scale * merit.error(float(last.mean())) if len(last) else math.nan
        inside = pd.NA if math.isnan(low) or math.isnan(measured) else bool(low <= measured <= high)
        miss = f"{predicted - measured:+.{merit.digits}f}{' points' if merit.unit == '%' else ''}"
        rows.append(
            {
                **ledger_frame.named(family), "size": int(largest), "predicted": predicted, "prediction_low": low,
                "prediction_high": high, "measured": measured, "error": predicted - measured, "inside": inside,
                "n": len(last), "note": law.note, "text": "no back-test" if law.fit is None else miss
                + ("" if inside is pd.NA else ", inside" if inside else ", outside"),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(back_test_columns(merit))).astype({"inside": "boolean"})


def fit_hours(frame: pd.DataFrame, *, resamples: int = 1000) -> dict[Family, Law]:
    """The law hours(n) = a + b n^c of one training of each family; refused below five sizes and on two devices."""
    laws = {}
    for family, rows in ledger_frame.families_of(ledger_frame.confirmed(frame)).items():
        hours = ledger_frame.training_seconds(rows, "plateau") / 3600
        laws[family] = fit_growth(rows["size"], hours, (family, "hours"), HOURS_EXPONENTS, resamples)
        if devices := ledger_frame.several_devices(rows["device"]):
            why = f"{devices}: hours are not comparable"
            laws[family] = Law(laws[family].means, refusal=Refusal.NOT_IDENTIFIED, note=why)
    return laws


HOURS_COLUMNS = columns("""
    task pretraining strategy largest size unit device processor
    hours: device-hours of one training until its plateau, of one without a plateau until its end
    low high prediction_low prediction_high text note
""")


def hours_forecast(frame: pd.DataFrame, hours: Mapping[Family, Law]) -> pd.DataFrame:
    """Device-hours of one training at ten times the largest size; the prediction interval is that of one training.

    hours: from `fit_hours` of this frame. Columns: HOURS_COLUMNS.
    """
    families = ledger_frame.families_of(ledger_frame.confirmed(frame))
    rows = []
    for family, law in hours.items():
        size, trials = DECADE * law.largest, families[family]
        value, (low, high), (one_low, one_high) = _predict(law, size, 1, (family, "hours"))
        rows.append(
            {
                **ledger_frame.named(family), **ledger_frame.hardware(trials), "largest": law.largest, "size": round(size),
                "hours": value, "low": low, "high": high, "prediction_low": one_low, "prediction_high": one_high,
                "unit": ledger_frame.unit_of(trials), "note": ledger_frame.notes(law.note, ledger_frame.hardware_note(trials)),
                "text": "no forecast" if law.fit is None
                else format_hours(value) + interval_text(low, high, format_hours),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(HOURS_COLUMNS))


BREAK_EVEN_COLUMNS = columns("""
    pretraining size unit device processor pretraining_hours scratch_hours finetuning_hours exact tasks low high
    n_tasks text note
""")


def break_even_forecast(frame: pd.DataFrame, hours: Mapping[Family, Law]) -> pd.DataFrame:
    """Break-even of finetuning at ten times the largest size, with the pretraining as it is.

    The forecast saving of each task counts the same; the interval (inf: never) is the wider of two: over tasks, as for the
    measured break-even, and over the resampled laws. Columns: BREAK_EVEN_COLUMNS.
    """
    confirmed = ledger_frame.confirmed(frame)
    pretrainings = breakeven.used_pretrainings(frame, confirmed)
    rows = []
    for pretraining in sorted({family[1] for family in hours if family[2] == "finetune"}):
        of_kind = pretrainings[pretrainings["pretraining"] == pretraining]
        pairs = [(hours[task, "none", "scratch"], law) for (task, *treatment), law in hours.items()
                 if treatment == [pretraining, "finetune"] and (task, "none", "scratch") in hours]  # fmt: skip
        usable = [pair for pair in pairs if all(law.fit is not None for law in pair)]
        tuned = (confirmed["pretraining"] == pretraining) & (confirmed["strategy"] == "finetune")
        charged = pd.concat([confirmed[(confirmed["strategy"] == "scratch") | tuned], of_kind])
        where = ledger_frame.hardware(charged)
        row = {"pretraining": pretraining, **where, "n_tasks": len(usable), "text": "no forecast"}
        if of_kind.empty or not usable or " + " in where["device"]:
            reasons = {law.note for pair in pairs for law in pair if law.fit is None}
            why = "the ledger has no finished pretraining of this kind" if of_kind.empty else "; ".join(sorted(reasons))
            if " + " in where["device"]:
                why = f"trained on {where['device']}: hours of two kinds of device are not mixed"
            rows.append({**row, "note": why or "no task has both a scratch and a finetuned training"})
            continue
        size = DECADE * min(law.largest for pair in usable for law in pair)
        spent = pretraining_seconds(frame, of_kind, Charge()) / 3600
        each = np.array([[law.at(size) for law in pair] for pair in usable])
        saving = _saving(usable, each[:, 0] - each[:, 1], size)
        left_out = f"{len(pairs) - len(usable)} tasks without a law of hours" if len(usable) < len(pairs) else ""
        one_task = "one task: interval of its laws alone" if len(usable) == 1 else ""
        rows.append(
            {
                **row, "size": round(size), "unit": hours_unit(where["device"]),
                **breakeven.break_even(spent, *each.mean(axis=0)).figures(saving),
                "note": ledger_frame.notes(left_out, one_task, ledger_frame.hardware_note(charged)),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(BREAK_EVEN_COLUMNS)).astype({"size": "Int64", "tasks": "Int64"})


Ends = tuple[float, float]


def _predict(law: Law, size: float, n: int, name: object) -> tuple[float, Ends, Ends]:
    """The law at `size`, its interval, and that of the mean of `n` new trainings.

    New ones are taken to scatter as those at the largest size did, in logarithms.
    """
    drawn = law.drawn_at(size)[:, 0]
    new = drawn[:0]
    if len(drawn) and n:
        noise = generator(name).standard_t(law.means.freedom[-1], len(drawn))
        new = drawn * np.exp(law.means.spread[-1] / math.sqrt(n) * noise)
    (low, high), (new_low, new_high) = (map(float, interval(values)) for values in (drawn, new))
    return law.at(size), (low, high), (new_low, new_high)


def _first_within(behind: np.ndarray, sizes: np.ndarray, tolerance: float) -> np.ndarray:
    """First of `sizes` from which on scratch is behind by no more than `tolerance`; infinite where never, [n_fits]."""
    beyond = behind > tolerance
    last = beyond.shape[1] - 1 - beyond[:, ::-1].argmax(axis=1)
    following = np.append(sizes, math.inf)[last + 1]
    held: np.ndarray = np.where(beyond.any(axis=1), following, sizes[0])
    return held


def _saving(pairs: Sequence[tuple[Law, Law]], savings: np.ndarray, size: float) -> Ends:
    """Interval of the mean of `savings` [n_tasks]: the wider of what the tasks' differences and the laws' draws say."""
    low, high = intervals.saving_interval(savings)
    if all(law.drawn is not None for pair in pairs for law in pair):
        drawn = [scratch.drawn_at(size)[:, 0] - tuned.drawn_at(size)[:, 0] for scratch, tuned in pairs]
        of_laws = interval(np.mean(drawn, axis=0))
        low, high = np.fmin(low, of_laws[0]), np.fmax(high, of_laws[1])
    return float(low), float(high)


def _catch_up_text(size: float, low: float, high: float, smallest: float, largest: float) -> str:
    """`34,000 (90 %: 21,000 to beyond 100,000)`, with nothing said beyond a decade above the largest size."""

    def write(value: float) -> str:
        if value > DECADE * largest:
            return f"beyond {DECADE * largest:,.0f}"
        return f"{float(f'{value:.2g}'):,.0f}" if value > smallest else f"{smallest:,.0f} or below"

    same = not math.isnan(low) and write(low) == write(high)
    return write(size) + ("" if same else interval_text(low, high, write))
