"""The figure of merit on test events: the baseline's, what each pretraining gains, and the layout of the published Table 1.

Only confirm trials count: fresh seeds, test events, never a number that a ratio was selected on. Fractions and their gains
are in percent. Intervals hold seeds, backbones and the test sample, as far as the records tell; the note says what does
not. Never imputes a missing cell: it says missing, or failed, with the count.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis import published
from breakeven.analysis.columns import columns
from breakeven.analysis.event_scores import NONE, SharedEvents, TestSample
from breakeven.analysis.significance import holm, sign_flip
from breakeven.analysis.statistics import Estimate, estimate, format_uncertainty, root_sum_of_squares
from breakeven.analysis.uncertainty import PARTS, Uncertain, binomial, uncertain
from breakeven.metric import MERIT, Metric, shown

__all__ = ["cell_columns", "cells", "gain_columns", "gains", "table"]

_KEYS = ["task", "signal", "background", "pretraining", "strategy", "size"]


def cell_columns(merit: Metric = MERIT) -> dict[str, str]:
    """The columns of `cells`, among them those of every metric that is shown in percent."""
    measured = [f"{_with_errors(m.name)}: {m.title} on test events, {m.measure}" for m in shown(merit)]
    start = " ".join((*_KEYS, "cell ratio n n_failed status"))
    return columns("\n".join((start, *measured, "published published_uncertainty note")))


def cells(frame: pd.DataFrame, *, merit: Metric = MERIT, shared: SharedEvents = NONE) -> pd.DataFrame:
    """Test results of each cell of the grid task x (pretraining, strategy) x size that the frame spans.

    Args:
        frame: the ledger frame.
        merit: the figure of merit; a cell is finished where a trial has one.
        shared: what the trials' scores tell of their test sample.

    Returns:
        One row a cell, columns as in `cell_columns`. status: "failed" where nothing finished and something failed,
        "missing" where there is nothing. sd (over seeds) and interval are NaN for n = 1; published: the baseline's.

    Raises:
        ValueError: a column of the ledger is missing.
    """
    every = ledger_frame.trials(frame)
    confirmed = ledger_frame.confirmed(frame)
    of_cell, failures = ledger_frame.cells_of(confirmed), _failures(every)
    rows = []
    for key in _grid(every):
        done, n_failed = of_cell.get(_cell(key), confirmed[:0]), failures[_cell(key)]
        means = {m: mean_of(done, m, shared) for m in shown(merit)}
        mean, note = means[merit]
        n = mean.mean.n
        if merit.by_factors and 0 < n < len(done):
            few = f"{len(done) - n} of {len(done)} seeds, perhaps the best, have no figure: too few background events pass"
            note = ledger_frame.notes(few, note)
        rows.append(
            {
                **key, "cell": done["cell"].iloc[0] if len(done) else "/".join(map(str, _cell(key))),
                "ratio": ledger_frame.ratio_of(done), "n": n, "n_failed": n_failed,
                "status": _status(n, n_failed),
                **{name: value for m, (one, _) in means.items() for name, value in one.figures(m.name).items()},
                **(_published(key) if key["strategy"] == "scratch" else {}), "note": note,
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(cell_columns(merit)))


def gain_columns(merit: Metric = MERIT) -> dict[str, str]:
    """The columns of `gains`."""
    difference = (
        f"test {merit.title} minus that of scratch" if merit.higher_is_better else f"scratch minus test {merit.title}"
    )
    return columns(f"""
        task signal background pretraining strategy size
        {_with_errors("gain")}: {difference} with the same seed, {merit.points}
        n
        gain_rss: root sum of squares of both standard deviations, as the paper propagates, {merit.points}
        paired: whether the gain is over pairs of one seed
        p_value: two-sided test of no gain, with the error that the interval has
        p_permutation: exact two-sided sign-flip test, which with few seeds can never be small
        p_holm: p_value with Holm's correction over all cells
        n_failed
        baseline_failed: failed records of the baseline
        status published published_uncertainty note
    """)


def gains(frame: pd.DataFrame, *, merit: Metric = MERIT, shared: SharedEvents = NONE) -> pd.DataFrame:
    """What each pretraining adds to the baseline's figure of merit on test events; positive is better.

    Args:
        frame: the ledger frame.
        merit: the figure of merit.
        shared: what the trials' scores tell of their test sample.

    Returns:
        One row a cell, columns as in `gain_columns`. Paired: the mean over seeds of (treated - scratch) of the same seed,
        which has the same random subset. Where no seed is shared the gain is the difference of the means, `paired` is
        False, gain_sd is the root sum of squares and there is no interval and no p-value.

    Raises:
        ValueError: a column of the ledger is missing.
    """
    every = ledger_frame.trials(frame)
    of_cell, failures = ledger_frame.cells_of(ledger_frame.confirmed(frame)), _failures(every)
    rows = []
    for cell in _grid(every):
        if cell["strategy"] == "scratch":
            continue
        both = _cell(cell), (cell["task"], "none", "scratch", cell["size"])
        arms = [of_cell.get(key, frame[:0]) for key in both]
        by_seed = [_by_seed(arm, merit) for arm in arms]
        alone = [estimate(value for value, *_ in of_seed.values()) for of_seed in by_seed]
        pairs, rss = _pairs(*by_seed), root_sum_of_squares(*(arm.sd for arm in alone))
        part, note = _of_test_sample(merit, shared, pairs["record"], pairs["record_scratch"], arms)
        gained = uncertain(
            pairs["gain"].to_numpy(), test=part.shared, test_scatter=part.own, backbones=list(pairs["backbone"])
        )
        gain, (n_failed, baseline_failed) = gained.mean, (failures[key] for key in both)
        if pairs.empty:
            n = min(arm.n for arm in alone)
            gain = Estimate(alone[0].mean - alone[1].mean if n else math.nan, rss, n, math.nan, math.nan)
            gained = replace(gained, mean=gain, test_se=math.nan)
        rows.append(
            {
                **{name: cell[name] for name in _KEYS}, **gained.figures("gain"), "n": gain.n, "gain_rss": rss,
                "paired": len(pairs) > 0, "p_value": gained.p_value,
                "p_permutation": sign_flip(pairs["gain"].to_numpy()), "n_failed": n_failed,
                "baseline_failed": baseline_failed, "status": _status(gain.n, n_failed + baseline_failed),
                **(_published(cell) if cell["strategy"] == "finetune" and merit.name == published.METRIC else {}),
                "note": _gain_note(gained, pairs["backbone"], note),
            }
        )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(gain_columns(merit)))
    return table.assign(p_holm=holm(table["p_value"].to_numpy(dtype=float)))


def table(grid: pd.DataFrame, gained: pd.DataFrame, *, merit: Metric = MERIT) -> pd.DataFrame:
    """Table 1's layout as text.

    Args:
        grid: what `cells` gives.
        gained: what `gains` gives.
        merit: the figure of merit.

    Returns:
        Rows (task, quantity), a column for each size, the published value in brackets. quantity: `baseline accuracy`, then
        `boosted trees gain`, `multiclass gain`, `multiclass frozen gain` ... An entry reads `84.8 ± 1.1 (n=3) [83.0 ± 0.2]`,
        `84.8 (n=1)`, `missing` or `failed (2)`; failures beside finished trials are appended as `, 1 failed`.
    """
    baseline = grid[grid["strategy"] == "scratch"].assign(quantity=f"baseline {merit.title}")
    if merit.name != published.METRIC:
        baseline["published"] = math.nan
    own = gained["pretraining"].where(gained["pretraining"] != "none", "boosted") + " "
    gained = gained.assign(quantity=own + gained["strategy"].replace("finetune", "") + " gain")
    gained["quantity"] = gained["quantity"].str.replace("  ", " ")
    texts: dict[tuple[str, str], dict[int, str]] = {}
    for task in ledger_frame.ordered_tasks(baseline):
        for rows, name in ((baseline, merit.name), (gained, "gain")):
            for row in rows[rows["task"] == task].to_dict("records"):
                figure = Estimate(row[name], row[f"{name}_sd"], row["n"], math.nan, math.nan)
                entry = _entry(figure.text(digits=merit.digits, sign=name == "gain"), row)
                texts.setdefault((task, row["quantity"]), {})[row["size"]] = entry
    sizes = sorted(set(baseline["size"]))
    index = pd.MultiIndex.from_tuples(list(texts), names=["task", "quantity"])
    return pd.DataFrame([[texts[key].get(size, "missing") for size in sizes] for key in texts], index, sizes)


def _grid(every: pd.DataFrame) -> list[dict[str, Any]]:
    """Every combination of what was tried, so that a hole shows as a hole."""
    processes = every.drop_duplicates("task").set_index("task")[["signal", "background"]]
    treatments, sizes = ledger_frame.treatments(every), sorted(set(every["size"]))
    return [
        dict(zip(_KEYS, (task, *sides, *treatment, size), strict=True))
        for task, *sides in processes.itertuples(name=None)
        for treatment in treatments
        for size in sizes
    ]


def _failures(every: pd.DataFrame) -> Counter[tuple[str, str, str, int]]:
    """How many confirming trials of each cell failed."""
    failed = every[(every["outcome"] == "failed") & (every["phase"] == "confirm")]
    return Counter(failed[ledger_frame.CELL].itertuples(index=False, name=None))


def _cell(row: Mapping[Any, Any]) -> tuple[str, str, str, int]:
    return row["task"], row["pretraining"], row["strategy"], row["size"]


def _status(n: int, n_failed: int) -> str:
    return "finished" if n else "failed" if n_failed else "missing"


def mean_of(rows: pd.DataFrame, metric: Metric, shared: SharedEvents) -> tuple[Uncertain, str]:
    """A metric of test events as it is shown, mean over confirmed trials of one cell, the geometric one where it scatters by
    factors, and what a reader must know of its error: empty where the interval holds all parts.
    """
    values = metric.scale * ledger_frame.measured(rows, metric)
    known, backbones = values.notna(), rows["backbone"].fillna("")
    divisors = values[known] if metric.by_factors else ()
    part, note = _of_test_sample(metric, shared, rows["record"][known], (), [rows[known]], divisors)
    averaged = metric.averaged(values.to_numpy())
    mean = uncertain(averaged, test=part.shared, test_scatter=part.own, backbones=list(backbones))
    mean = mean.exponential() if metric.by_factors else mean
    return mean, _note(mean, backbones[known], note)


def paired_gains(treated: pd.DataFrame, scratch: pd.DataFrame, merit: Metric) -> pd.DataFrame:
    """The gain of each seed that both cells have, from confirmed trials of one task and size.

    One row a seed: gain as it is shown, positive is better; value, record and backbone of the treated trial; value_scratch and
    record_scratch.
    """
    return _pairs(*(_by_seed(rows, merit) for rows in (treated, scratch)))


def paired_test_error(treated: pd.DataFrame, other: pd.DataFrame, merit: Metric, shared: SharedEvents) -> float:
    """What the test sample leaves in the mean difference of two cells over seeds that both have, as it is averaged: of fractions,
    or of logarithms of what scatters by factors. NaN where it is not known.
    """
    pairs = paired_gains(treated, other, merit)
    if pairs.empty:
        return math.nan
    divisors = np.concatenate([pairs["value"], pairs["value_scratch"]]) if merit.by_factors else ()
    part, _ = _of_test_sample(merit, shared, pairs["record"], pairs["record_scratch"], [treated, other], divisors)
    return math.sqrt(part.shared) / merit.scale


_BySeed = dict[int, tuple[float, str, str]]
"""The figure of merit of each seed as it is shown, with the sign that makes more the better; record and backbone."""


def _by_seed(rows: pd.DataFrame, merit: Metric) -> _BySeed:
    """Of trials of one cell; the mean where a seed has several."""
    values = merit.sign * merit.scale * ledger_frame.measured(rows, merit).to_numpy()
    of_seed: dict[int, list[tuple[float, str, str]]] = {}
    for seed, value, record, backbone in zip(
        rows["seed"], values, rows["record"], rows["backbone"].fillna(""), strict=True
    ):
        if not math.isnan(value):
            of_seed.setdefault(seed, []).append((value, record, backbone))
    return {seed: (float(np.mean([one[0] for one in every])), *every[0][1:]) for seed, every in of_seed.items()}


def _pairs(treated: _BySeed, scratch: _BySeed) -> pd.DataFrame:
    seeds = sorted(treated.keys() & scratch.keys())
    rows = [(*treated[seed], *scratch[seed][:2], treated[seed][0] - scratch[seed][0]) for seed in seeds]
    return pd.DataFrame(rows, seeds, ["value", "record", "backbone", "value_scratch", "record_scratch", "gain"])


def _of_test_sample(
    metric: Metric,
    shared: SharedEvents,
    records: Iterable[str],
    others: Iterable[str],
    arms: Sequence[pd.DataFrame],
    divisors: Sequence[float] | pd.Series | np.ndarray = (),
) -> tuple[TestSample, str]:
    """What the test sample adds to a mean, or to a mean difference, in squared units of what is shown; a note.

    arms: the trials, whose counts bound the variance of an accuracy where they kept no scores.  divisors: as of
    SharedEvents.test_sample.
    """
    records, others = list(records), list(others)
    part = shared.test_sample(metric, records, others, np.asarray(divisors, dtype=float))
    note = _COPIES if shared.unknown.keys() & {*records, *others} else ""
    if math.isnan(part.shared) and metric.name == "accuracy":
        bounds = (binomial(ledger_frame.measured(arm, metric).mean(), arm["test_events"].min()) for arm in arms)
        part = TestSample(sum(bounds))
        note = "no scores of single events: test sample by the binomial bound" + ", not paired" * (len(arms) - 1)
    return part * metric.scale**2, note if not math.isnan(part.shared) else _NO_TEST_SAMPLE


_COPIES = "test events of one hard event are taken as independent: which they are is not known here"
_NO_TEST_SAMPLE = "the test sample's own error is not in the interval"


def _note(mean: Uncertain, backbones: pd.Series, of_test_sample: str) -> str:
    """Why a mean has no interval, or what its interval lacks."""
    if mean.mean.n == 0:
        return ""
    if mean.mean.n == 1:
        known = f"only the test sample's error is known, ± {format_uncertainty(mean.test_se, 1)}"
        return "n=1: no uncertainty" if math.isnan(mean.test_se) else f"n=1: no interval; {known}"
    one_backbone = set(backbones) != {""} and backbones.nunique() == 1
    return ledger_frame.notes(
        "one backbone: its scatter is not in the interval" if one_backbone else "",
        of_test_sample,
    )


def _gain_note(gained: Uncertain, backbones: pd.Series, of_test_sample: str) -> str:
    """The same of a gain."""
    if gained.mean.n and backbones.empty:
        return "no seed in common with scratch: a difference of means, without interval"
    without = gained.mean.n > 1 and math.isnan(gained.p_value)
    known = _note(gained, backbones, of_test_sample)
    return ledger_frame.notes("all seeds gain the same: no p-value" if without else "", known)


def _with_errors(name: str) -> str:
    """The columns of a figure with its uncertainties, as columns.py takes them."""
    return " ".join((name, *(f"{name}_{part}" for part in ("sd", "low", "high", *(f"{part}_se" for part in PARTS)))))


def _published(row: Mapping[Any, Any]) -> dict[str, float]:
    """The paper's value of a cell or gain: it has those from scratch and finetuned alone."""
    printed = None
    if row["strategy"] in ("scratch", "finetune"):
        printed = published.accuracy_value(row["signal"], row["background"], row["pretraining"], row["size"])
    return dict(zip(("published", "published_uncertainty"), printed or (math.nan, math.nan), strict=True))


def _entry(text: str, row: Mapping[Any, Any]) -> str:
    n_failed = row["n_failed"]
    if row["status"] == "failed":
        text = f"failed ({n_failed})" if n_failed else "baseline failed"
    elif row["status"] == "finished" and n_failed:
        text += f", {n_failed} failed"
    if np.isfinite(row["published"]):
        text += f" [{row['published']:.1f} ± {format_uncertainty(row['published_uncertainty'], 1)}]"
    return text
