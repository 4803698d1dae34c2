"""The first screen: at most five sentences, one picture, one table of break-even. Everything else is detail.

Where too many trainings ended at their cap no gain and no break-even is worded: it would measure the cap. The tables stay.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from breakeven.analysis import endings, exposure, published
from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.columns import columns
from breakeven.analysis.cost import breakeven
from breakeven.analysis.cost.baseline import BETTER, SCRATCH
from breakeven.analysis.cost.savings import TREES_DO
from breakeven.analysis.statistics import estimate
from breakeven.duration import duration
from breakeven.report import wording
from breakeven.report.accuracy_plots import (
    axis,
    by_size,
    by_task,
    faint,
    lines,
    mean_text,
    numbers,
    passing_words,
    published_points,
    published_sizes,
    spread,
)
from breakeven.report.plot import Panel, Plot, Series
from breakeven.report.results import Results
from breakeven.report.table import PRETRAINING, SIZE, Column, Row, Table, plain

_PASSING = {False: "", True: " (background events that pass, of how many)"}
"""What the table's caption says of a rejection."""
UNANSWERED = "No cell has both a scratch and a finetuned trial yet."
_ARMS = (("finetune", "finetuning"), ("trees", "boosted trees"), ("scratch", "training from scratch"))


def headline(results: Results) -> list[str]:
    """What the study says in at most five sentences, of several networks in one line each. `**` marks what is said loudest."""
    if "" in results.by_network:
        return _sentences(results)
    parts = results.by_network.items()
    return [f"**{network}**: " + " ".join(_sentences(part)[: 1 if withheld(part) else 3]) for network, part in parts]


def withheld(results: Results) -> str:
    """Why no gain and no break-even is worded; nothing where they may be."""
    counts = endings.of_trainings(results.endings)
    if not endings.too_many_capped(counts):
        return ""
    return (
        f"**No headline: {counts['n_capped']} of {counts['n']} reported trainings ({_share(counts, 'n_capped')}) ended at their "
        f"cap of epochs, not at a plateau**, so that gains and break-even would measure the cap (more than "
        f"{100 * endings.MOST_CAPPED:g} % is too many): raise --finetuning.epochs and --finetuning.steps."
    )


def no_break_even(results: Results) -> str:
    """Why no break-even is worded though gains are; nothing where it may be."""
    counts = endings.of_pretrainings(results.endings)
    if not endings.too_many_capped(counts):
        return ""
    return (
        f"**No break-even**: {counts['n_capped']} of {counts['n']} pretrainings ended at their cap of epochs, not at a "
        "plateau, so that it would measure the cap: raise --pretraining.epochs, with --pretraining.patience"
    )


def table(results: Results) -> Table:
    """Figure of merit and break-even of each pretraining and size in one row."""
    merit = results.merit
    meanings = columns(f"""
        pretraining size
        finetune: test {merit.title} finetuned, mean over tasks, {merit.measure}
        trees: test {merit.title} of trees, mean over tasks, {merit.measure}
        scratch: test {merit.title} from scratch, mean over tasks, {merit.measure}
        finetune_passing: background events that pass finetuned, of how many; empty: several tasks, or no rejection
        trees_passing: those of trees
        scratch_passing: those from scratch
        tasks: first whole number of tasks from which pretraining is cheaper than scratch, until the end of each training
        text low high
        n_saving: tasks for which finetuning takes less time than scratch
        n_tasks
        tasks_better: the same against the better of scratch and trees; empty: never, or no trees
        text_better: that in words
        n_trees: tasks, over all sizes cells, in which finetuning is not ahead of trees
        pretraining_hours scratch_hours finetuning_hours
        trees_seconds: device-seconds of one training of trees, mean over tasks
    """)
    rows = [_row(results, row) for row in _even(results).to_dict("records")]
    has_trees = (results.overall["strategy"] == "trees").any()
    return Table(
        "headline",
        "Break-even",
        f"Test {merit.title}{merit.in_percent}, {merit.mean} over tasks{_PASSING[merit.by_factors]}; N*: tasks from which on "
        "pretraining is cheaper than training from scratch, with its 90 % interval for tasks like these, each training charged "
        "until it stopped; saves on: tasks that take less time finetuned."
        + (
            " Against trees: N* against scratch where it is ahead of trees by more than one standard error on validation events, "
            "else against trees; where finetuning is not ahead of trees so far no number of tasks makes up for a pretraining."
            if has_trees
            else ""
        )
        + (" Trainings ended at their cap: these figures measure the cap." if withheld(results) else ""),
        pd.DataFrame(rows, columns=list(meanings)),
        (
            PRETRAINING,
            SIZE,
            *(Column(heading, partial(_merit_text, arm=arm, digits=merit.digits), arm)
              for arm, heading in (("finetune", "finetuned"), ("trees", "trees"), ("scratch", "scratch"))),
            plain("N*", "text"),
            Column("90 %", lambda row: wording.tasks_between(row, "low", "high"), "low"),
            Column("saves on", lambda row: f"{row['n_saving']} of {row['n_tasks']}" if wording.known(row["n_saving"]) else ""),
            Column("against trees", _against_trees, "tasks_better"),
            *(Column(heading, partial(_time, name=name), name)
              for heading, name in (("T_pre", "pretraining_hours"), ("T_scratch", "scratch_hours"),
                                    ("T_finetune", "finetuning_hours"))),
            Column("T_trees", lambda row: duration(row["trees_seconds"]) if wording.known(row["trees_seconds"]) else "",
                   "trees_seconds"),
        ),
        UNANSWERED,
        links=False,
        meanings=meanings,
    )  # fmt: skip


def plot(results: Results) -> Plot:
    """The figure of merit against size: the mean over tasks, then each task."""
    merit = results.merit
    cells = results.cells[results.cells["n"] > 0]
    title = f"test {axis(merit)}"
    panels = [
        by_size(task, rows, title, *published_points(rows, merit),
                *lines(spread(rows, merit), merit.name, partial(mean_text, results=results, metric=merit)),
                y_log=merit.by_factors)
        for task, rows in by_task(cells)
    ]  # fmt: skip
    means = results.overall[results.overall["n_tasks"] > 1]
    if len(means):
        n_tasks = int(means["n_tasks"].max())
        text = partial(wording.mean, name=merit.name, digits=merit.digits)
        series = lines(spread(means.assign(task=""), merit), merit.name, text, linked=False)
        points = [one for one in _published_means(results, means) if one.x]
        ticks = numbers(sorted(set(means["size"])))
        panels.insert(
            0,
            Panel(f"Mean of {n_tasks} tasks", "training events per class", title, (*points, *series), x_ticks=ticks,
                  y_log=merit.by_factors),
        )  # fmt: skip
    return Plot(
        "headline",
        f"{merit.heading} against training events",
        f"Test {merit.title}, {merit.mean} over seeds; error bars: standard deviation over seeds, none for n=1."
        + faint(results),
        {"": tuple(panels)},
    )


def _sentences(results: Results) -> list[str]:
    if reason := withheld(results):
        return [reason, *(f"{line[:1].upper()}{line[1:]}." for line in _seen(results))]
    if results.overall[results.overall["strategy"] == "finetune"].empty:
        return [UNANSWERED]
    trained = "; ".join([*_ended(results), *_seen(results)])
    lines = [*_reached(results), *_gained(results), *_break_even(results), trained[:1].upper() + trained[1:]]
    return [f"{line}." for line in lines if line]


def _reached(results: Results) -> Iterator[str]:
    """`At 1,000 events per class finetuning (multiclass) reaches 71.2 %, ...`."""
    merit, rows = results.merit, results.overall
    rows = rows[(rows["strategy"] != "finetune") | (rows["pretraining"] == results.leading)].set_index("strategy")
    rows = rows[rows["size"] == rows.loc[["finetune"], "size"].max()]
    told, n = [], int(rows["n_tasks"].iloc[0])
    reaches = "reaches" if merit.unit else f"reaches a {merit.title} of"
    for strategy, words in _ARMS:
        if strategy in rows.index:
            name = f"{words} ({results.leading}) {reaches}" if strategy == "finetune" else words
            passing = passing_words(_passing(results, rows.loc[strategy], strategy))
            told.append(
                f"{name} **{rows.at[strategy, merit.name]:.{merit.digits}f} {merit.unit}".rstrip() + f"**{passing}"
            )
    over = f"mean of {n} tasks" if n > 1 else "one task"
    yield f"At {rows['size'].iloc[0]:,} events per class {', '.join(told)} ({over})"


def _gained(results: Results) -> Iterator[str]:
    """The gains over scratch and over trees at each size, and in how many cells those over scratch are significant."""
    gains, unit = results.gains, " points" if results.merit.unit else ""
    tuned = gains[(gains["strategy"] == "finetune") & (gains["pretraining"] == results.leading) & (gains["n"] > 0)]
    if tuned.empty:
        return
    means = results.mean_gains
    means = means[(means["strategy"] == "finetune") & (means["pretraining"] == results.leading)]
    by_size = _by_size(means)
    saved = results.savings[results.savings["pretraining"] == results.leading].dropna(subset="gain_over_trees")
    sizes = _told_sizes(by_size)
    over_scratch = [f"{_gain_text(by_size[size], unit)} at {size:,}" for size in sizes]
    over_trees = [
        f"{_gain_text(estimate(rows['gain_over_trees']).figures('gain'), unit)} at {size:,}"
        for size in sizes
        if len(rows := saved[saved["size"] == size])
    ]
    sure = tuned[(tuned["gain"] > 0) & (tuned["p_holm"] < wording.SIGNIFICANT)]
    lost = tuned[tuned["gain_high"] < 0]
    yield (
        f"Over training from scratch that gains {_joined(over_scratch)} events, significant in {len(sure)} of {len(tuned)} cells "
        f"(corrected over {gains['p_holm'].notna().sum()}{_named(sure, ': ')})"
        + (f", and loses beyond its interval in {len(lost)}{_named(lost, ' (', ')')}" if len(lost) else "")
        + (f"; over trees {_joined(over_trees)}" if over_trees else "")
    )


def _named(cells: pd.DataFrame, before: str, after: str = "") -> str:
    """`ttW vs ttt at 500 and 2,000`, up to four cells."""
    if not 0 < len(cells) <= 4:
        return ""
    told = [
        f"{ledger_frame.title(str(task))} at {_joined([f'{size:,}' for size in sorted(of_task['size'])])}"
        for task, of_task in cells.groupby("task", sort=False)
    ]
    return f"{before}{_joined(told)}{after}"


def _by_size(rows: pd.DataFrame) -> dict[int, dict[Any, Any]]:
    """Rows of one treatment."""
    return {int(row["size"]): row for row in rows.to_dict("records")}


def _told_sizes(sizes: Iterable[int]) -> list[int]:
    """The largest first; of more than four the largest, the middle and the smallest."""
    ordered = sorted(map(int, sizes), reverse=True)
    return ordered if len(ordered) <= 4 else [ordered[0], ordered[len(ordered) // 2], ordered[-1]]


def _joined(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _gain_text(gain: Mapping[Any, Any], unit: str) -> str:
    """`+3.1 points (90 %: +0.5 to +5.8; tasks ± 0.9, backbones ± 0.7)`, with two figures of the uncertainty.

    tasks: standard error of what differs from task to task, seeds and test events among it; each where it is known.
    """
    digits = wording.decimals((gain["gain_high"] - gain["gain_low"]) / 2, least=1)
    value = f"{round(gain['gain'], digits) + 0.0:+.{digits}f}{unit}"
    if not (interval := wording.between(gain["gain_low"], gain["gain_high"], digits, sign=True)):
        return f"{value} (one task)"
    errors = {name: gain.get(f"gain_{name}_se", math.nan) for name in ("task", "backbone")}
    if not wording.known(errors["backbone"]):
        return f"{value} (90 %: {interval})"
    return (
        f"{value} (90 %: {interval}; {', '.join(_error(f'{name}s', error, digits) for name, error in errors.items())})"
    )


def _error(name: str, error: float, digits: int) -> str:
    """A part of 0 is one that so few did not show."""
    return f"{name} ± {error:.{digits}f}" if error > 0.0 else f"none seen of {name}"


def _break_even(results: Results) -> Iterator[str]:
    """Break-even of the leading pretraining at each size, against scratch, then against the better of scratch and trees."""
    even = results.by_headline
    even = even[(even["pretraining"] == results.leading) & even["size"].notna()]
    if even.empty:
        return
    if reason := no_break_even(results):
        yield reason
        return
    scratch, better = (_by_size(even[even["baseline"] == name]) for name in (SCRATCH, BETTER))
    if not scratch:  # a study under way whose trees are there first
        return
    took = [row["pretraining_hours"] for row in scratch.values() if wording.known(row["pretraining_hours"])]
    time = f"Pretraining took {duration(3600 * took[0])} of device time, which" if took else "Its device time"
    # What is said loudest holds against every baseline.
    loud = {size for size in scratch if not better or (size in better and _shown(better[size]))}
    yield f"{time} against training from scratch is {_saved_again(scratch, loud)}"
    if not better:
        return
    saved = results.savings[results.savings["pretraining"] == results.leading].dropna(subset="trees_seconds")
    counts = saved["ahead"].value_counts()
    ahead = (
        f"; by validation, beyond one standard error, finetuning is ahead of trees in {counts.get('finetuning', 0)} of "
        f"{len(saved)} cells, trees in {counts.get('trees', 0)}, at {duration(float(saved['trees_seconds'].mean()))} a training"
    )
    yield f"Against the better of scratch and trees it is {_saved_again(better, loud)}{ahead}"


def _shown(row: Mapping[Any, Any]) -> bool:
    """Whether a break-even is there with the whole of its interval."""
    return bool(wording.known(row["tasks"]) and wording.known(row["high"]) and math.isfinite(row["high"]))


def _saved_again(rows: Mapping[int, Mapping[Any, Any]], loud: Collection[int]) -> str:
    """`saved again after 14 tasks at 2,000 events (90 %: 11 to 25), not shown to be saved at 500 events (90 %: 40 to never)`.

    No number where the interval reaches never: it would be read. loud: sizes whose number is said loudly.
    """
    told: dict[str, list[str]] = {}
    for size in _told_sizes(rows):
        row = rows[size]
        at, between = f"at {size:,} events", wording.tasks_interval(row)
        known = wording.known(row["tasks"])
        tasks = f"after {wording.count_of_tasks(row['tasks'])} task{'' if row['tasks'] == 1 else 's'}" if known else ""
        if not known and row["text"] not in (breakeven.NEVER, breakeven.NOT_SHOWN):
            told.setdefault("not comparable", []).append(f"{at} ({row['note']})")
        elif _shown(row):
            told.setdefault("saved again", []).append(f"{f'**{tasks}**' if size in loud else tasks} {at}{between}")
        elif not wording.known(row["high"]):
            kind, tasks = ("saved again", f"{tasks} ") if known else ("never saved", "")
            told.setdefault(kind, []).append(f"{tasks}{at}, by one task, which has no interval")
        else:
            kind = "**never saved**" if row["text"] == breakeven.NEVER else "not shown to be saved"
            told.setdefault(kind, []).append(f"{at}{between}")
    return ", ".join(f"{kind} {_joined(parts)}" for kind, parts in told.items())


def _ended(results: Results) -> Iterator[str]:
    """The shares at the cap and at chance."""
    trained, made = endings.of_trainings(results.endings), endings.of_pretrainings(results.endings)
    if trained["n"]:
        capped = made["n_capped"] or "none"
        backbones = f" (of {made['n']} pretraining{'s' if made['n'] > 1 else ''} {capped})" if made["n"] else ""
        yield (
            f"of {trained['n']:,} reported trainings {_share(trained, 'n_capped')} ended at their cap of epochs{backbones}, and "
            f"{_share(trained, 'n_at_chance')} ended at chance"
        )


def _seen(results: Results) -> Iterator[str]:
    """Which tasks' classes the backbone was taught."""
    rows = results.exposures[results.exposures["pretraining"] == results.leading]
    told = []
    for kind, words in (
        (exposure.SEEN, "both classes"),
        (exposure.HALF_SEEN, "one class"),
        (exposure.PARTLY_SEEN, "only part of a class"),
        (exposure.UNSEEN, "no class"),
    ):
        tasks = [ledger_frame.title(task) for task in rows.loc[rows["exposure"] == kind, "task"]]
        told += [f"{words} of {', '.join(tasks)}"] if tasks else []
    if told:
        yield f"the backbone was taught {'; '.join(told)}"


def _share(counts: Mapping[str, int], name: str) -> str:
    return f"{wording.significant(100 * counts[name] / counts['n'], 2)} %"


def _even(results: Results) -> pd.DataFrame:
    """Break-even against scratch as the headline charges it."""
    return results.by_headline[results.by_headline["baseline"] == SCRATCH]


def _row(results: Results, row: Mapping[Any, Any]) -> dict[str, Any]:
    """One row of the table."""
    every, at = pd.isna(row["size"]), row["size"]
    overall = results.overall[(results.overall["size"] == at) if not every else results.overall["size"].notna()]
    overall = overall[(overall["strategy"] != "finetune") | (overall["pretraining"] == row["pretraining"])]
    merits = overall.groupby("strategy")[results.merit.name].mean()
    better = results.by_headline[
        (results.by_headline["baseline"] == BETTER)
        & (results.by_headline["pretraining"] == row["pretraining"])
        & (results.by_headline["size"].isna() if every else results.by_headline["size"] == at)
    ]
    saved = results.savings[results.savings["pretraining"] == row["pretraining"]]
    saved = saved if every else saved[saved["size"] == at]
    return {
        **{name: row[name] for name in ("pretraining", "size", "tasks", "text", "low", "high", "n_saving", "n_tasks",
                                        "pretraining_hours", "scratch_hours", "finetuning_hours")},
        **{arm: merits.get(arm, math.nan) for arm in ("finetune", "trees", "scratch")},
        **{f"{arm}_passing": _passing(results, row, arm) for arm in ("finetune", "trees", "scratch")},
        "tasks_better": better["tasks"].iloc[0] if len(better) else pd.NA,
        "text_better": _better_text(better.to_dict("records")),
        "n_trees": int(saved["ahead"].isin(TREES_DO).sum()),
        "trees_seconds": float(saved["trees_seconds"].mean()),
    }  # fmt: skip


def _better_text(rows: list[dict[Any, Any]]) -> str:
    """Break-even of one row, no number where its interval reaches never; nothing of none."""
    return "".join(
        breakeven.NOT_SHOWN if wording.known(row["tasks"]) and row["high"] == math.inf else str(row["text"])
        for row in rows
    )


def _against_trees(row: Row) -> str:
    if not row["text_better"]:
        return ""
    return f"{row['text_better']}; trees no worse on {row['n_trees']}" if row["n_trees"] else str(row["text_better"])


def _passing(results: Results, row: Row | pd.Series, arm: str) -> str:
    """What passes in an arm at the size of a row, whose pretraining is meant where the arm has one; of a study of one task."""
    if len(results.tasks) != 1:
        return ""
    pretraining = row["pretraining"] if arm == "finetune" else "none"
    cell = {"task": results.tasks[0], "pretraining": pretraining, "strategy": arm, "size": row["size"]}
    return results.passing_of(cell, results.merit)


def _merit_text(row: Row, arm: str, digits: int) -> str:
    """`37.3`, of a rejection `37.3 (44 to 54 of 1,868)`, with what passes."""
    passing = f" ({row[f'{arm}_passing']})" if row[f"{arm}_passing"] else ""
    return wording.number(row[arm], digits) + passing


def _time(row: Row, name: str) -> str:
    return duration(3600 * row[name]) if wording.known(row[name]) else ""


def _published_means(results: Results, means: pd.DataFrame) -> Iterator[Series]:
    """The paper's accuracies, mean over the same tasks, at the sizes that it has for each of them."""
    if results.merit.name != published.METRIC:
        return
    of_tasks = list(results.cells.drop_duplicates("task")[["signal", "background"]].itertuples(index=False, name=None))
    for pretraining in ["none", *means.loc[means["strategy"] == "finetune", "pretraining"].unique()]:
        points = []
        for size in published_sizes(numbers(sorted(set(means["size"])))):
            printed = [published.accuracy_at(signal, background, pretraining, size) for signal, background in of_tasks]
            values = [one[0] for one in printed if one is not None]
            if len(values) == len(of_tasks):
                points.append((size, sum(values) / len(values)))
        strategy = "scratch" if pretraining == "none" else "finetune"
        yield Series(
            f"published, {wording.treatment(pretraining, strategy)}", pretraining, strategy,
            numbers(size for size, _ in points), numbers(value for _, value in points), kind="published",
            texts=tuple(f"{value:.1f} (arXiv 2412.10665)" for _, value in points),
        )  # fmt: skip
