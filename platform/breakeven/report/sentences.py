"""The details of the answer in sentences, the method, and the summary for the terminal. `**` marks what is said loudest."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.cost import breakeven
from breakeven.analysis.cost.baseline import SCRATCH
from breakeven.analysis.endings import judge_of_chance
from breakeven.duration import duration
from breakeven.metric import MERIT, METRICS
from breakeven.report import headline, wording
from breakeven.report.results import Results

_WIDTH = 118
"""Of the terminal's lines."""


def details(results: Results) -> list[str]:
    """Gains at the smallest and the largest size of each pretraining, and what to make of a loss.

    Nothing where the headline is withheld, and of several networks, whose figures are in the tables.
    """
    if "" not in results.by_network or headline.withheld(results):
        return []
    gains = results.gains
    tuned = gains[(gains["strategy"] == "finetune") & (gains["n"] > 0)]
    trees = gains[(gains["strategy"] == "trees") & (gains["n"] > 0)]
    lines = [_gain("boosted trees", "they gain", rows, results) for rows in _ends(trees)]
    for pretraining, rows in tuned.groupby("pretraining", sort=False):
        lines += [_gain(str(pretraining), "finetuning gains", at_size, results) for at_size in _ends(rows)]
        smallest = rows[rows["size"] == rows["size"].min()]
        if (smallest["gain"] > 0).sum() * 2 <= len(smallest):
            lines.append(_why_not(smallest, results, str(pretraining)))
    return lines


def method(spec: Mapping[str, Any]) -> list[str]:
    """How it was done, from the study's specification."""
    tuning, search = spec["finetuning"], spec["search"]
    pretrainings = {", ".join(spec["pretraining"]["objectives"]) or "none": spec["pretraining"]}
    pretrainings = spec.get("pretrainings") or pretrainings
    chosen = (
        f"{search['trials']} ratios in each cell, the published one first{_others(search)}, were compared by validation loss on "
        f"{search['seeds']} search seed(s)"
        if search["trials"]
        else f"the published ratio {search['published']} was used without a search"
    )
    merit = METRICS[tuning.get("merit", MERIT.name)]
    alike = search["trials"] > 0 and "scratch" in search.get("strategies", ())
    return [
        "All events are simulated. They are split once by hard event: 60 % train, 15 % validation, 25 % test, so that all "
        "figures are of one fixed set of simulated test events, which no backbone and no trial was trained or chosen on (whether "
        "the recipe was found on them is for the study's author to say); another set would give other values. Backbones were "
        "taught training events of some of the tasks' own processes, as the published ones: tasks are called seen or half-seen "
        "by how many of their two classes those are, partly seen where they are only some processes of a class, else unseen.",
        *(
            f"Pretraining: {_learns(name, pre)}; {_until(pre)}, batch {pre['batch_size']}, rate "
            f"{pre['learning_rate']:g} x {pre['decay']}^epoch"
            + (f", from the backbone of {pre['start']}." if pre.get("start") else ".")
            for name, pre in pretrainings.items()
        ),
        f"Trials: at most {tuning['epochs']} epochs (small samples: at least {tuning['steps']} steps), batch "
        f"{tuning['batch_size']}, rate {tuning['learning_rate']:g} from scratch and {tuning['head_rate']:g} for the head on "
        f"a backbone, x {tuning['decay']}^epoch; the weights of the epoch with the lowest validation loss are kept. "
        f"Plateau: {tuning['patience']} epochs{_and_steps(tuning)} without a relative improvement of 0.1 % of the validation "
        "loss, counted from the end of a warm-up; the time to plateau ends with the last improving epoch.",
        *_mixture(tuning),
        *_care(tuning),
        f"Besides its training events every training sees up to {tuning['validation_events']:,} labelled validation events of "
        "each class, which choose its epoch and its rate: sizes count training events alone.",
        *(
            [
                "Boosted trees: scikit-learn's histogram gradient boosting on high-level variables of the same events (masses, "
                "angles, sums and counts of objects), with the same validation events, seeds and plateau rule; no search."
                + (
                    " With its scores: what a frozen backbone says of each of an event's leading jets stands beside these, and "
                    "its time is charged to them."
                    if "trees+score" in tuning["baselines"]
                    else ""
                )
            ]
            if tuning.get("baselines")
            else []
        ),
        f"Learning-rate ratios (backbone over head): {chosen}; what is reported comes from {tuning['seeds']} fresh seed(s) "
        "and test events."
        + (" From scratch the rate was searched with as many trials, seeds and validation events." if alike else ""),
        "Scratch, finetuned and frozen trials share batch, epoch limit and plateau rule.",
        *_backbones(pretrainings),
        "Break-even is that of these rules: a longer patience of the pretraining raises it, one of the trials lowers it, and no "
        "interval knows of that. It charges each training until it stopped, its patience included, as nobody knows a plateau "
        "before; until the "
        "plateau, as arXiv 2412.10665 charges, is another row. Both sides are charged with their own search in the rows that "
        "charge one. Its interval over tasks enumerates every resample of up to six tasks (Student's t below five) and "
        "depends on no random generator.",
        "Significant is a gain with p < 0.05 after Holm's correction over all cells of its network. At chance ended a training "
        f"whose test {judge_of_chance(merit).title} is not two standard errors of the test sample above a coin's.",
        "Intervals are at 90 % and hold the scatter of seeds, of backbones where there are several, and the error of the test "
        "sample that all seeds share, from the scores of its events (paired between treatments; a binomial bound where a trial "
        "kept none); a row says which part it lacks. A mean over one seed has no interval, and is marked n=1. Hours of "
        "processors and of GPUs are never added up.",
    ]


def _others(search: Mapping[str, Any]) -> str:
    """How the ratios after the published one were drawn."""
    if search["trials"] < 2:
        return ""
    return ", the others spread over the range" if search.get("spread") else ", the others at random"


def _and_steps(tuning: Mapping[str, Any]) -> str:
    """`, and 200 steps,` where patience counts in steps too."""
    steps = tuning.get("patience_steps", 0)
    return f", and {steps:,} steps," if steps else ""


def _mixture(tuning: Mapping[str, Any]) -> list[str]:
    """Where training events are not as many of each class."""
    if (part := tuning.get("signal_fraction", 0.5)) == 0.5:
        return []
    return [
        f"Of training events {100 * part:.3g} % are signal, with weights by which both classes count alike: a size of N events "
        "per class is 2 N in all. Validation and test events are as many of each class."
    ]


def _care(tuning: Mapping[str, Any]) -> list[str]:
    """What is done so that trainings from scratch learn."""
    done = []
    if steps := tuning.get("warmup_steps", 0):
        done.append(f"rates from scratch grow to their full size in the first {steps:,} steps")
    if steps := tuning.get("head_steps", 0):
        done.append(
            f"new layers on a pretrained backbone learn alone for up to {steps:,} steps before all weights do, which is charged"
        )
    if tuning.get("symmetries"):
        done.append("every training event is turned about the beam and mirrored at random in every epoch")
    if (factor := tuning.get("slow_start", 1)) > 1:
        done.append(
            f"the patience is {factor} times as long until the training loss is below 0.99 of a constant output's"
        )
    return [f"So that deep networks learn from few events: {'; '.join(done)}."] if done else []


def _until(pretraining: Mapping[str, Any]) -> str:
    """For how long a backbone is trained."""
    if patience := pretraining.get("patience", 0):
        return f"at most {pretraining['epochs']} epochs, until {patience} without a lower validation loss"
    return f"{pretraining['epochs']} epochs"


def _backbones(pretrainings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Whether the intervals hold the scatter of backbones."""
    seeds = {name: int(one.get("seeds", 1)) for name, one in pretrainings.items()}
    alone = [name for name, n in seeds.items() if n < 2]
    lines = [f"Backbones: {n} of {name}, which its trials take in turns." for name, n in seeds.items() if n > 1]
    return lines + [
        f"One backbone of {', '.join(alone)}: no interval contains the scatter of pretraining seeds."
    ] * bool(alone)


def _learns(name: str, pretraining: Mapping[str, Any]) -> str:
    """A pretraining by name with its objective and, where they are not all of the catalogue, its processes."""
    objectives = ", ".join(pretraining["objectives"])
    learns = name if name == (objectives or "none") else f"{name} ({objectives})"
    processes = ", ".join(pretraining["processes"])
    return f"{learns} on {processes}" if processes else learns


def summary_lines(results: Results) -> list[str]:
    """The answer in a few lines of plain text for the terminal, with what was expected of the device time."""
    lines, failed = list[str](), results.failed
    for network, part in results.by_network.items():
        lines += [f"Network {network}"] if network else []
        lines += _network_lines(part)
    if len(failed):
        lines.append(f"{len(failed)} failed: {failed.iloc[0]['reason']}")
    for row in results.facts.get("price", ()):
        if row["stage"] == "all trainings":
            expected, low, high, taken = (duration(3600 * row[name]) for name in ("expected", "low", "high", "taken"))
            lines.append(
                f"Price: {expected} of device time expected ({low} to {high}), {taken} taken, {row['off']:+.0%}"
            )
    return lines


def _network_lines(results: Results) -> list[str]:
    gains, merit = results.gains, results.merit
    even = results.by_headline[results.by_headline["baseline"] == SCRATCH]
    answer = [line.replace("**", "") for line in headline.headline(results)]
    lines = [part for line in answer for part in textwrap.wrap(line, _WIDTH, break_on_hyphens=False)]
    cut = ", of trainings that were cut short" if headline.withheld(results) else ""
    lines.append(f"Gain in test {merit.title} over training from scratch{cut}, {merit.points} (mean over tasks):")
    for (pretraining, strategy), rows in gains[gains["n"] > 0].groupby(["pretraining", "strategy"], sort=False):
        sizes = rows.groupby("size")["gain"]
        entries = "   ".join(f"{size:,} {mean:+.{merit.digits}f}" for size, mean in sizes.mean().items())
        name = "" if pretraining == "none" else pretraining
        lines.append(f"  {name:11}{strategy:9} {entries}")
    lines.append(
        f"Break-even against scratch{cut} (tasks from which pretraining is cheaper, trainings charged until they stop):"
    )
    for row in even.to_dict("records"):
        size = "all sizes" if pd.isna(row["size"]) else f"{row['size']:,} events"
        lines.append(f"  {row['pretraining']:11}{size:14} {wording.tasks(row)}")
    if not len(even):
        lines.append("  no pretraining with both a scratch and a finetuned training")
    notes = dict.fromkeys(note for joined in even["note"].dropna() for note in joined.split("; ") if note)
    return lines + [
        part for note in notes for part in textwrap.wrap(f"  note: {note}", _WIDTH, subsequent_indent="    ")
    ]


def published_break_even() -> str:
    """Why the paper prints 41 where its figures give 25 by the definition."""
    paper = breakeven.break_even()
    return (
        f"The paper's figures (45.5 GPU-hours, 2.94, 38 %) give {paper.exact:.1f}, so {paper.text}, by this definition. It "
        f"prints 41: that is 45.5 / (0.38 x 2.94) = {paper.published_reading:.1f}, which takes the 38 % that finetuning costs "
        "for what it saves. The column *paper's reading* does the same to this study's numbers, T_pre / T_finetune."
    )


def _ends(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows at the smallest and at the largest size."""
    return (
        [rows[rows["size"] == size] for size in sorted({rows["size"].min(), rows["size"].max()})] if len(rows) else []
    )


def _gain(name: str, gain: str, rows: pd.DataFrame, results: Results) -> str:
    merit, better = results.merit, int((rows["gain"] > 0).sum())
    [mean] = results.mean_gains.merge(rows[["pretraining", "strategy", "size"]].drop_duplicates()).to_dict("records")
    sure, worse = (int(((sign * rows["gain"] > 0) & (rows["p_holm"] < wording.SIGNIFICANT)).sum()) for sign in (1, -1))
    digits = wording.decimals((mean["gain_high"] - mean["gain_low"]) / 2, least=merit.digits)
    interval = wording.between(mean["gain_low"], mean["gain_high"], digits, sign=True)
    by = f"{mean['gain']:+.{digits}f} {'points' if merit.unit else f'in {merit.title}'}"
    spread = f" (90 % over {mean['n_tasks']} tasks: {interval})" if interval else " (one task)"
    lost = f", and significantly worse on {worse}" if worse else ""
    return (
        f"**{name}**, {rows['size'].iloc[0]:,} events per class: {gain} {by} over scratch on average{spread}, significantly on "
        f"{sure} of {len(rows)} tasks{lost}; the mean is above zero on {better}."
    )


def _why_not(smallest: pd.DataFrame, results: Results, pretraining: str) -> str:
    """Why finetuning does not win at the smallest size, as far as the numbers tell."""
    losing, merit, cells = smallest[smallest["gain"] <= 0], results.merit, results.cells
    within, one_seed = int((losing["gain_high"] > 0).sum()), bool((losing["n"] == 1).any())
    scratch = cells[(cells["strategy"] == "scratch") & cells["size"].isin(smallest["size"])].set_index("task")[
        merit.name
    ]
    # A task that is lost from below 53 % is near chance with the backbone, too.
    near = merit.scale * (merit.chance + 0.03) if merit.chance is not None else -math.inf
    chance = [ledger_frame.title(task) for task in losing["task"] if scratch.get(task, math.inf) < near]
    reasons = (
        "a loss on one seed has no uncertainty (more seeds would tell)" if one_seed else "",
        f"{within} of the {len(losing)} losses lie within their 90 % interval of zero (more seeds would tell)"
        if within
        else "",
        f"at this size {', '.join(chance)} is near chance with and without pretraining" if chance else "",
    )
    suspect = f"the {pretraining} backbone itself is the suspect: look at its validation curve, pretrain longer"
    why = "; ".join(filter(None, reasons)) or suspect
    return f"At the smallest size {pretraining} does not win on most tasks: {why}."
