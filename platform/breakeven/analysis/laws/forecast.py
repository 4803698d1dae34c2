"""What the next decade of data would bring: accuracy, the size at which scratch catches up, hours, break-even.

Extrapolates the laws of scaling_law.py, always with an interval, and tests itself on the largest size measured. Never
forecasts from a law that was refused: such a row says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.cost import breakeven
from breakeven.analysis.laws.scaling_law import LEAST_SIZES, Family, Law, Refusal, fit_error_law, fit_growth, refused
from breakeven.analysis.resampling import generator, interval
from breakeven.duration import format_hours
from breakeven.ledger.charge import hours_unit

DECADE = 10.0
HOURS_EXPONENTS = (-2.0, -0.02)
"""Hours grow with size, at most as its square."""
_SEARCHED_DECADES = 4


FORECAST_COLUMNS = columns("""
    task pretraining strategy largest size
    accuracy: test accuracy by the law, percent
    low high prediction_low prediction_high n text note
""")


def accuracy_forecast(laws: Mapping[Family, Law], *, factor: float = DECADE, level: float = 0.9) -> pd.DataFrame:
    """Test accuracy (percent) at `factor` times the largest size of each family.

    low, high: of the law itself; the prediction's: of the mean over n new seeds, as many as at the largest size. Columns:
    FORECAST_COLUMNS.
    """
    rows = []
    for family, found in laws.items():
        size, n = factor * found.largest, int(found.means.n[-1]) if len(found.means.n) else 0
        error, drawn = found.at(size), found.drawn_at(size)[:, 0]
        low, high = _interval(drawn, level)
        new_low, new_high = _interval(_with_noise(found, drawn, n, (family, "new")), level)
        rows.append(
            {
                **_about(family),
                "largest": found.largest,
                "size": round(size),
                "accuracy": 100 * (1 - error),
                "low": 100 * (1 - high),
                "high": 100 * (1 - low),
                "prediction_low": 100 * (1 - new_high),
                "prediction_high": 100 * (1 - new_low),
                "n": n,
                "text": "no forecast"
                if found.law is None
                else f"{100 * (1 - error):.1f} %{_between(100 * (1 - high), 100 * (1 - low), level)}",
                "note": found.note,
            }
        )
    return pd.DataFrame(rows, columns=list(FORECAST_COLUMNS))


CATCH_UP_COLUMNS = columns("""
    task pretraining strategy largest
    events: events per class from which on scratch is as good; inf: never
    low high text note
""")


def catch_up(laws: Mapping[Family, Law], *, tolerance: float = 0.1, level: float = 0.9) -> pd.DataFrame:
    """The size from which training from scratch is as good as each treatment, to `tolerance` percentage points.

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
        row = {
            **_about(family),
            "events": math.nan,
            "low": math.nan,
            "high": math.nan,
            "text": "no forecast",
            "note": "",
        }
        row["largest"] = largest = min(treated.largest, scratch.largest)
        row["note"] = ledger_frame.notes(treated.note, scratch.note and f"scratch: {scratch.note}")
        if treated.law is not None and scratch.law is not None:
            smallest = max(treated.means.sizes[0], scratch.means.sizes[0])
            sizes = np.geomspace(smallest, largest * 10.0**_SEARCHED_DECADES, 400)
            behind = scratch.law.at(sizes) - treated.law.at(sizes)
            size, low, high = float(_first_within(behind, sizes, tolerance / 100)[0]), math.nan, math.nan
            if scratch.drawn is not None and treated.drawn is not None:
                behind = scratch.drawn_at(sizes) - treated.drawn_at(sizes)
                low, high = _interval(_first_within(behind, sizes, tolerance / 100), level)
            text = _catch_up_text(size, low, high, smallest, largest, level)
            row |= {"events": size, "low": low, "high": high, "text": text}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(CATCH_UP_COLUMNS))


BACK_TEST_COLUMNS = columns("""
    task pretraining strategy size
    predicted: predicted test accuracy, percent
    prediction_low prediction_high
    measured: measured test accuracy, percent
    error: predicted - measured, percentage points
    inside: whether the measured value lies in the prediction interval; empty: there is none
    n text note
""")


def back_test(frame: pd.DataFrame, *, level: float = 0.9, resamples: int = 1000) -> pd.DataFrame:
    """Each law fitted without its largest size, and how well it predicts that one.

    size: the one left out. The prediction interval is of the mean over the n seeds measured. Needs six sizes, as five are
    left. Columns: BACK_TEST_COLUMNS.
    """
    rows = []
    for family, trials in ledger_frame.families_of(ledger_frame.confirmed(frame)).items():
        sizes, errors = trials["size"].to_numpy(), 1.0 - trials["test_accuracy"].to_numpy(dtype=float)
        largest = sizes.max()
        there, last = sizes < largest, errors[(sizes == largest) & np.isfinite(errors)]
        n_sizes = len(set(sizes))
        law = fit_error_law(sizes[there], errors[there], (family, "back-test"), resamples)
        if n_sizes <= LEAST_SIZES:
            why = f"{n_sizes} size{'s' if n_sizes != 1 else ''}: a back-test needs {LEAST_SIZES + 1}"
            law = refused(law.means, Refusal.TOO_FEW_SIZES, why)
        predicted, measured = 100 * (1 - law.at(largest)), 100 * (1 - float(last.mean())) if len(last) else math.nan
        drawn = _with_noise(law, law.drawn_at(float(largest))[:, 0], len(last), (family, "back-test"))
        low, high = (100 * (1 - end) for end in reversed(_interval(drawn, level)))
        inside = pd.NA if math.isnan(low) or math.isnan(measured) else bool(low <= measured <= high)
        rows.append(
            {
                **_about(family), "size": int(largest), "predicted": predicted, "prediction_low": low,
                "prediction_high": high, "measured": measured, "error": predicted - measured, "inside": inside,
                "n": len(last), "text": "no back-test" if law.law is None else _miss(predicted - measured, inside),
                "note": law.note,
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(BACK_TEST_COLUMNS)).astype({"inside": "boolean"})


def fit_hours(frame: pd.DataFrame, *, time: str = "plateau", resamples: int = 1000) -> dict[Family, Law]:
    """The law hours(n) = a + b n^c of one training of each family; refused below five sizes and on two devices."""
    found = {}
    for family, rows in ledger_frame.families_of(ledger_frame.confirmed(frame)).items():
        hours = ledger_frame.training_seconds(rows, time).to_numpy() / 3600
        law = fit_growth(rows["size"].to_numpy(), hours, (family, "hours"), HOURS_EXPONENTS, resamples)
        kinds = sorted(set(rows["device"]))
        if len(kinds) > 1:
            law = refused(
                law.means, Refusal.NOT_IDENTIFIED, f"trained on {' and '.join(kinds)}: hours are not comparable"
            )
        found[family] = law
    return found


HOURS_COLUMNS = columns("""
    task pretraining strategy largest size unit device processor
    hours: device-hours of one training until its plateau, of one without a plateau until its end
    low high prediction_low prediction_high text note
""")


def hours_forecast(
    frame: pd.DataFrame, hours: Mapping[Family, Law], *, factor: float = DECADE, level: float = 0.9
) -> pd.DataFrame:
    """Device-hours of one training at `factor` times the largest size; the prediction interval is that of one training.

    Columns: HOURS_COLUMNS.
    """
    hardware = {
        family: (ledger_frame.hardware(rows), ledger_frame.hardware_note(rows))
        for family, rows in ledger_frame.families_of(ledger_frame.confirmed(frame)).items()
    }
    rows = []
    for family, found in hours.items():
        size, (where, note) = factor * found.largest, hardware[family]
        drawn = found.drawn_at(size)[:, 0]
        low, high = _interval(drawn, level)
        one_low, one_high = _interval(_with_noise(found, drawn, 1, (family, "hours")), level)
        text = f"{format_hours(found.at(size))}{_between(low, high, level, format_hours)}"
        rows.append(
            {
                **_about(family), **where, "largest": found.largest, "size": round(size), "hours": found.at(size),
                "low": low, "high": high, "prediction_low": one_low, "prediction_high": one_high,
                "unit": "mixed" if " + " in where["device"] else hours_unit(where["device"]),
                "text": text if found.law is not None else "no forecast", "note": ledger_frame.notes(found.note, note),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(HOURS_COLUMNS))


BREAK_EVEN_COLUMNS = columns("""
    pretraining size unit device processor pretraining_hours scratch_hours finetuning_hours exact tasks low high
    n_tasks text note
""")


def break_even_forecast(
    frame: pd.DataFrame,
    hours: Mapping[Family, Law],
    *,
    strategy: str = "finetune",
    time: str = "plateau",
    factor: float = DECADE,
    level: float = 0.9,
) -> pd.DataFrame:
    """Break-even at `factor` times the largest size, with the pretraining as it is.

    The forecast saving of each task counts the same; the interval (inf: never) is the wider of two: over tasks, as for the
    measured break-even, and over the resampled laws. Columns: BREAK_EVEN_COLUMNS.
    """
    confirmed = ledger_frame.confirmed(frame)
    pretrainings = breakeven.used_pretrainings(frame, confirmed)
    rows = []
    for pretraining in sorted({family[1] for family in hours if family[2] == strategy}):
        of_kind = pretrainings[pretrainings["pretraining"] == pretraining]
        pairs = [(hours[task, "none", "scratch"], found) for (task, objective, how), found in hours.items()
                 if (objective, how) == (pretraining, strategy) and (task, "none", "scratch") in hours]  # fmt: skip
        usable = [pair for pair in pairs if all(law.law is not None for law in pair)]
        trained = confirmed[
            (confirmed["strategy"] == "scratch")
            | ((confirmed["pretraining"] == pretraining) & (confirmed["strategy"] == strategy))
        ]
        charged = pd.concat([trained, of_kind])
        where = ledger_frame.hardware(charged)
        row = {"pretraining": pretraining, **where, "n_tasks": len(usable), "text": "no forecast"}
        if of_kind.empty or not usable or " + " in where["device"]:
            reasons = {law.note for pair in pairs for law in pair if law.law is None}
            why = "the ledger has no finished pretraining of this kind" if of_kind.empty else "; ".join(sorted(reasons))
            if " + " in where["device"]:
                why = f"trained on {where['device']}: hours of two kinds of device are not mixed"
            rows.append({**row, "note": why or "no task has both a scratch and a finetuned training"})
            continue
        size = factor * min(law.largest for pair in usable for law in pair)
        spent = float(ledger_frame.training_seconds(of_kind, time).mean()) / 3600
        each = np.array([[law.at(size) for law in pair] for pair in usable])
        result = breakeven.break_even(spent, *each.mean(axis=0))
        saving = _saving(usable, each[:, 0] - each[:, 1], size, level)
        left_out = f"{len(pairs) - len(usable)} tasks without a law of hours" if len(usable) < len(pairs) else ""
        rows.append(
            {
                **row, "size": round(size), "unit": hours_unit(where["device"]),
                "pretraining_hours": spent, "scratch_hours": result.scratch, "finetuning_hours": result.finetuning,
                "exact": math.nan if result.exact is None else result.exact, "tasks": result.tasks,
                "low": breakeven.tasks_for_saving(spent, saving[1]),
                "high": breakeven.tasks_for_saving(spent, saving[0]),
                "text": result.text,
                "note": ledger_frame.notes(left_out, "one task: interval of its laws alone" if len(usable) == 1 else "",
                                           ledger_frame.hardware_note(charged)),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(BREAK_EVEN_COLUMNS)).astype({"size": "Int64", "tasks": "Int64"})


def _about(family: Family) -> dict[str, object]:
    return dict(zip(ledger_frame.CELL[:3], family, strict=True))


def _interval(drawn: np.ndarray, level: float) -> tuple[float, float]:
    if not len(drawn):
        return math.nan, math.nan
    low, high = interval(drawn, level)
    return float(low), float(high)


def _with_noise(law: Law, drawn: np.ndarray, n: int, name: object) -> np.ndarray:
    """What the mean of `n` new trainings could be: the law with the scatter of that mean, in logarithms.

    New ones are taken to scatter as those at the largest size did.
    """
    if not len(drawn) or not n:
        return drawn[:0]
    noise = generator(name).standard_t(law.means.freedom[-1], len(drawn))
    scattered: np.ndarray = drawn * np.exp(law.means.spread[-1] / math.sqrt(n) * noise)
    return scattered


def _first_within(behind: np.ndarray, sizes: np.ndarray, tolerance: float) -> np.ndarray:
    """First of `sizes` from which on scratch is behind by no more than `tolerance`; infinite where never, [n_fits]."""
    beyond = behind > tolerance
    last = beyond.shape[1] - 1 - beyond[:, ::-1].argmax(axis=1)
    following = np.append(sizes, math.inf)[last + 1]
    held: np.ndarray = np.where(beyond.any(axis=1), following, sizes[0])
    return held


def _saving(pairs: Sequence[tuple[Law, Law]], savings: np.ndarray, size: float, level: float) -> tuple[float, float]:
    """Interval of the mean of `savings` [n_tasks]: the wider of what the tasks' differences and the laws' draws say."""
    over_tasks = breakeven.saving_interval(savings, level=level)
    drawn = [scratch.drawn_at(size)[:, 0] - tuned.drawn_at(size)[:, 0] for scratch, tuned in pairs
             if scratch.drawn is not None and tuned.drawn is not None]  # fmt: skip
    over_laws = _interval(np.mean(drawn, axis=0), level) if len(drawn) == len(pairs) else (math.nan, math.nan)
    return float(np.fmin(over_tasks[0], over_laws[0])), float(np.fmax(over_tasks[1], over_laws[1]))


def _miss(error: float, inside: object) -> str:
    """`+0.1 points, inside`."""
    return f"{error:+.1f} points" + ("" if inside is pd.NA else ", inside" if inside else ", outside")


def _between(low: float, high: float, level: float, form: object = None) -> str:
    if math.isnan(low):
        return " (no uncertainty)"
    ends = [form(end) if callable(form) else f"{end:.1f}" for end in (low, high)]
    return f" ({100 * level:.0f} %: {ends[0]} to {ends[1]})"


def _catch_up_text(size: float, low: float, high: float, smallest: float, largest: float, level: float) -> str:
    """`at 34,000 (90 %: 21,000 to beyond 100,000)`, with nothing said beyond a decade above the largest size."""

    def name(value: float) -> str:
        if value > DECADE * largest:
            return f"beyond {DECADE * largest:,.0f}"
        return f"{float(f'{value:.2g}'):,.0f}" if value > smallest else f"{smallest:,.0f} or below"

    if math.isnan(low):
        return f"{name(size)} (no uncertainty)"
    ends = [name(low), name(high)]
    return name(size) + (f" ({100 * level:.0f} %: {ends[0]} to {ends[1]})" if ends[0] != ends[1] else "")
