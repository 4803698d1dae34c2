"""The report of a study: question, answer, evidence, cost, method, provenance, in Markdown with tables as CSV.

Everything in it comes from the ledger frame and the facts it is given; nothing is computed here but sentences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from breakeven import atomic
from breakeven.analysis import accuracy, breakeven, convergence, cost, plots
from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.accounts import NONE
from breakeven.analysis.statistics import Estimate, format_hours

_MARKS = {"hard_events": "shipped parton-level sample", "matrix_element": "matrix-element weight", "lhe": "your LHE files",
          "surrogate": "**surrogate**", "pythia": "Pythia"}  # fmt: skip


def write_report(frame: pd.DataFrame, folder: Path, facts: Mapping[str, Any], accounts: pd.DataFrame = NONE) -> Path:
    """Write `folder`/report.md, its plots and one CSV for each table; returns the report's path.

    frame: the ledger frame of one study.  facts: study, command, spec, git_commit, processor, versions (dict),
    datasets (manifest by process); price and price_origin (rows of study.price.outcome) where one was made;
    missing (trials that a budget left out, by cell).
    accounts: where the reserved time went, as accounts.py gives it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = plots.accuracy_against_size(frame, folder)
    tables = {
        "accuracy": accuracy.cells(frame),
        "gains": accuracy.gains(frame),
        "cost": cost.cost_table(frame),
        "accounts": accounts,
        "break_even": breakeven.study_break_even(frame),
        "break_even_total": breakeven.study_break_even(frame, time="total"),
        "convergence": convergence.time_ratios(frame),
        "plateau": convergence.times_to_plateau(frame),
    }
    for name, table in tables.items():
        atomic.write_text(folder / f"{name}.csv", table.to_csv(index=False))
    parts = [
        f"# {facts['study']}: does pretraining pay?",
        "",
        *_answer(tables),
        "",
        *(["![Test accuracy against training events per class](accuracy.png)", ""] if pictures else []),
        *_evidence(frame),
        *_cost(tables),
        *_accounts(accounts),
        *_price(facts),
        *_break_even(tables),
        *_convergence(tables["convergence"]),
        *_ratios(tables["accuracy"]),
        *_method(facts),
        *_provenance(frame, facts),
        *_missing(facts),
        *_failures(frame),
    ]
    path = folder / "report.md"
    atomic.write_text(path, "\n".join(parts).rstrip() + "\n")
    return path


def summary_lines(frame: pd.DataFrame) -> list[str]:
    """The answer in a few lines of plain text for the terminal."""
    gains, even = accuracy.gains(frame), breakeven.study_break_even(frame)
    lines = ["Gain in test accuracy over training from scratch, percentage points (mean over tasks):"]
    for (pretraining, strategy), rows in gains[gains["n"] > 0].groupby(["pretraining", "strategy"], sort=False):
        sizes = rows.groupby("size")["gain"]
        entries = "   ".join(f"{size:,} {mean:+.1f}" for size, mean in sizes.mean().items())
        lines.append(f"  {pretraining:11}{strategy:9} {entries}")
    lines.append("Break-even (tasks from which pretraining is cheaper, time to plateau):")
    for row in even.to_dict("records"):
        size = "all sizes" if pd.isna(row["size"]) else f"{row['size']:,} events"
        lines.append(f"  {row['pretraining']:11}{size:14} {_tasks(row)}{'; ' + row['note'] if row['note'] else ''}")
    if not len(even):
        lines.append("  no pretraining with both a scratch and a finetuned training")
    failed = ledger_frame.failed(frame)
    if len(failed):
        lines.append(f"{len(failed)} failed: {failed.iloc[0]['reason']}")
    return lines


def _answer(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """The answer in sentences."""
    gains, even = tables["gains"], tables["break_even"]
    tuned = gains[(gains["strategy"] == "finetune") & (gains["n"] > 0)]
    lines = ["## Answer", ""]
    for pretraining, rows in tuned.groupby("pretraining", sort=False):
        for size, at_size in rows.groupby("size"):
            sure = (at_size["gain_low"] > 0).sum()
            better = (at_size["gain"] > 0).sum()
            lines.append(
                f"- **{pretraining}**, {size:,} events per class: finetuning beats scratch on {better} of {len(at_size)} "
                f"tasks ({sure} beyond the 90 % interval), by {at_size['gain'].mean():+.1f} points on average."
            )
        smallest = rows[rows["size"] == rows["size"].min()]
        if (smallest["gain"] > 0).sum() * 2 <= len(smallest):
            lines.append(f"- {_why_not(smallest, tables['accuracy'], str(pretraining))}")
    for row in even[even["size"].isna() | (even.groupby("pretraining")["size"].transform("size") == 1)].to_dict(
        "records"
    ):
        lines.append(f"- {_pays(row)}")
    return lines if len(lines) > 2 else [*lines, "No cell has both a scratch and a finetuned trial yet."]


def _pays(row: Mapping[Any, Any]) -> str:
    """Break-even in a sentence, with the sizes it is for."""
    subject = f"{row['pretraining']} pretraining"
    where = "mean over all sizes" if pd.isna(row["size"]) else f"at {row['size']:,} events per class"
    if row["text"] == breakeven.NEVER:
        return (
            f"**{subject} never pays in {row['unit'].replace('_', '-')}** ({where}): to its plateau finetuning takes "
            f"{format_hours(row['finetuning_hours'])} a task, scratch {format_hours(row['scratch_hours'])}{_interval(row)}."
        )
    if pd.isna(row["tasks"]):
        return f"**{subject}: no break-even**, {row['note']}."
    return f"**{subject} pays from {row['text']} on**{_interval(row)}, by time to plateau, {where}."


def _why_not(smallest: pd.DataFrame, cells: pd.DataFrame, pretraining: str) -> str:
    """Why finetuning does not win at the smallest size, as far as the numbers tell."""
    losing = smallest[smallest["gain"] <= 0]
    noisy = losing[losing["gain_high"] > 0]
    scratch = cells[(cells["strategy"] == "scratch") & cells["size"].isin(smallest["size"])].set_index("task")[
        "accuracy"
    ]
    # A task that is lost from below 53 % is near chance with the backbone, too.
    chance = [ledger_frame.title(task) for task in losing["task"] if scratch.get(task, 100.0) < 53.0]
    reasons = []
    if (losing["n"] == 1).any():
        reasons.append("a loss on one seed has no uncertainty (more seeds would tell)")
    if len(noisy):
        reasons.append(
            f"{len(noisy)} of the {len(losing)} losses lie within their 90 % interval of zero (more seeds would tell)"
        )
    if chance:
        reasons.append(f"at this size {', '.join(chance)} is near chance with and without pretraining")
    if not reasons:
        reasons.append(
            f"the {pretraining} backbone itself is the suspect: look at its validation curve, pretrain longer"
        )
    return f"At the smallest size {pretraining} does not win on most tasks: {'; '.join(reasons)}."


def _evidence(frame: pd.DataFrame) -> list[str]:
    """Table 1's layout."""
    table = accuracy.table(frame).reset_index()
    table = table.assign(task=[ledger_frame.title(task) for task in table["task"]])
    repeated = table["task"] == table["task"].shift()
    table.loc[repeated, "task"] = ""
    return [
        "## Accuracy",
        "",
        "Test accuracy in percent by training events per class; mean ± standard deviation over seeds (n). Gains are paired: "
        "the same seed and the same events from scratch. In square brackets: arXiv 2412.10665, Table 1, at the same size.",
        "",
        *_markdown(table),
        "",
    ]


def _cost(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    units = set(tables["cost"]["unit"])
    rows = []
    for row in tables["cost"].to_dict("records"):
        rows.append(
            {
                "stage": row["stage"],
                "unit": row["unit"],
                "useful": format_hours(row["useful"]),
                "stopped": format_hours(row["stopped"]) if row["n_stopped"] else "",
                "wasted": format_hours(row["wasted"]),
                "n": row["n"],
                "failed": row["n_failed"] or "",
                "mean to plateau": format_hours(row["mean"]) if math.isfinite(row["mean"]) else "",
                "published mean, GPU-hours": f"{row['published_mean']:.3g}"
                if math.isfinite(row["published_mean"])
                else "",
            }
        )
    return [
        "## Cost",
        "",
        "Device-hours as charged in the ledger. Useful: finished work. Stopped: search trials ended "
        "early because they were losing. Wasted: failed, interrupted or repeated work. "
        "Published values are at 1e7 events per class on other hardware."
        + (" Hours on processors and on GPUs are summed apart, never together." if len(units) > 1 else ""),
        "",
        *_markdown(pd.DataFrame(rows)),
        "",
    ]


def _accounts(accounts: pd.DataFrame) -> list[str]:
    """Where the time that was reserved went; nothing for a study whose drivers wrote no reservations."""
    if not len(accounts):
        return []
    lines = ["### Where the reserved time went", "", "| stage | reserved (h) | useful | search | wasted | idle | unaccounted |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in accounts.to_dict("records"):
        unit = row["unit"].split("_")[0].upper()
        parts = (row[name] / row["reserved"] for name in ("useful", "search", "wasted", "idle", "unaccounted"))
        shares = " | ".join(f"{part:.1%}" if abs(part) >= 5e-4 else "0" for part in parts)
        lines.append(f"| {row['stage']}, {unit} | {row['reserved']:.3g} | {shares} |")
    return [*lines, "", "Reserved is what this study's own drivers held, by their clocks; the rest by the workers' clocks. Idle "
            "is time held and not used: starting, waiting, reading, a core that other programs took. What was reused from "
            "other studies is in no row.", ""]  # fmt: skip


def _missing(facts: Mapping[str, Any]) -> list[str]:
    """Cells whose trials did not fit into the budget of the run."""
    if not (missing := facts.get("missing")):
        return []
    lines = [f"- `{cell}`: {number}" for cell, number in missing.items()]
    return ["## Missing", "", f"{sum(missing.values())} trials of {len(missing)} cells did not fit into the budget; the same "
            "command goes on with them. Trials missing, by cell:", "", *lines, ""]  # fmt: skip


def _price(facts: Mapping[str, Any]) -> list[str]:
    """What was expected before the study began, beside what came."""
    if not facts.get("price"):
        return []
    rows = [
        {"stage": row["stage"], "expected": format_hours(row["expected"]),
         "likely": f"{format_hours(row['low'])} to {format_hours(row['high'])}", "taken": format_hours(row["taken"]),
         "off by": f"{row['off']:+.0%}" + ("" if row["within"] else ", outside")}
        for row in facts["price"]
    ]  # fmt: skip
    return ["### Price and outcome", "", f"Expected before the study began ({facts['price_origin']}), beside what its records "
            "were charged, in device-hours.", "", *_markdown(pd.DataFrame(rows)), ""]  # fmt: skip


def _break_even(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    rows = []
    for name, until in (("break_even", "plateau"), ("break_even_total", "end")):
        for row in tables[name].to_dict("records"):
            rows.append(
                {
                    "pretraining": row["pretraining"],
                    "events per class": "all" if pd.isna(row["size"]) else f"{row['size']:,}",
                    "charged until": until,
                    "T_pre": _hours(row["pretraining_hours"]),
                    "mean T_scratch": _hours(row["scratch_hours"]),
                    "mean T_finetune": _hours(row["finetuning_hours"]),
                    "N*": _tasks(row),
                    "paper's reading": _number(row["published_reading"]),
                    "n (scratch, finetune)": f"{row['n_scratch']}, {row['n_finetuning']}",
                    "note": row["note"],
                }
            )
    paper = breakeven.break_even()
    return [
        "## Break-even",
        "",
        "The number of tasks from which pretraining is cheaper: N* = T_pre / (mean T_scratch - mean T_finetune), in "
        "device-hours, 90 % interval by bootstrap over tasks. Where finetuning takes no less time than scratch it never "
        "pays, whatever the accuracy gained.",
        "",
        *_markdown(pd.DataFrame(rows)),
        "",
        f"The paper's figures (45.5 GPU-hours, 2.94, 38 %) give {paper.exact:.1f}, so {paper.text}, by this definition. It "
        f"prints 41: that is 45.5 / (0.38 x 2.94) = {paper.published_reading:.1f}, which takes the 38 % that finetuning "
        "costs for what it saves. The column *paper's reading* does the same to this study's numbers, T_pre / T_finetune.",
        "",
    ]


def _convergence(ratios: pd.DataFrame) -> list[str]:
    """Figure 1 of the paper as a table."""
    if ratios.empty:
        return []
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in ratios.to_dict("records"):
        reached = f"{row['n_reached']} of {row['n']} reached it"
        mean = Estimate(row["ratio"], row["ratio_sd"], row["n_reached"], math.nan, math.nan).text(digits=2)
        entry = "devices differ" if row["unit"] == "mixed" else reached if not row["n_reached"] else mean
        if 0 < row["n_reached"] < row["n"]:
            entry += f", {reached}"
        key = (ledger_frame.title(row["task"]), row["pretraining"], row["strategy"])
        rows.setdefault(key, {})[f"{row['size']:,}"] = entry
    sizes = [f"{size:,}" for size in sorted(set(ratios["size"]))]
    table = pd.DataFrame([[*key, *(rows[key].get(size, "missing") for size in sizes)] for key in rows],
                         columns=["task", "pretraining", "strategy", *sizes])  # fmt: skip
    return [
        "## Convergence",
        "",
        "Time to 99 % of the baseline's final validation accuracy, over the baseline's total time (arXiv 2412.10665, Fig. 1), "
        "by training events per class; mean ± standard deviation over the seeds that reached it (n).",
        "",
        *_markdown(table),
        "",
    ]


def _ratios(cells: pd.DataFrame) -> list[str]:
    tuned = cells[(cells["strategy"] == "finetune") & (cells["n"] > 0)]
    if tuned.empty:
        return []
    rows = []
    for (task, pretraining), of_cell in tuned.groupby(["task", "pretraining"], sort=False):
        by_size = {f"{row['size']:,}": f"{row['ratio']:.2g}" for row in of_cell.to_dict("records")}
        rows.append({"task": ledger_frame.title(str(task)), "pretraining": pretraining, **by_size})
    return [
        "## Learning-rate ratios",
        "",
        "Backbone rate over head rate, chosen in each cell on validation events and seeds that are never reported. The paper "
        "uses 0.1 everywhere.",
        "",
        *_markdown(pd.DataFrame(rows).fillna("")),
        "",
    ]


def _method(facts: Mapping[str, Any]) -> list[str]:
    spec = facts["spec"]
    tuning, pre, search = spec["finetuning"], spec["pretraining"], spec["search"]
    chosen = (
        f"{search['trials']} ratios in each cell were compared by validation loss on {search['seeds']} search seed(s)"
        if search["trials"]
        else f"the published ratio {search['published']} was used without a search"
    )
    return [
        "## Method",
        "",
        "- Events are split by hard event: 60 % train, 15 % validation, 25 % test. No backbone and no trial has seen a test "
        "event before it was judged. As in the paper, backbones have seen training events of the same processes.",
        f"- Pretraining: {', '.join(pre['objectives']) or 'none'}; {pre['epochs']} epochs, batch {pre['batch_size']}, rate "
        f"{pre['learning_rate']:g} x {pre['decay']}^epoch.",
        f"- Trials: at most {tuning['epochs']} epochs (small samples: at least {tuning['steps']} steps), batch "
        f"{tuning['batch_size']}, rate {tuning['learning_rate']:g} from scratch and {tuning['head_rate']:g} for the head on "
        f"a backbone, x {tuning['decay']}^epoch; the weights of the epoch with the lowest validation loss are kept. "
        f"Plateau: {tuning['patience']} epochs without a relative improvement of 0.1 % of the validation loss; the time to "
        "plateau ends with the last improving epoch.",
        f"- Ratios: {chosen}; reported accuracies come from {tuning['seeds']} fresh seed(s) and test events.",
        "- Scratch, finetuned and frozen trials share batch, epoch limit and plateau rule.",
        "",
    ]


def _provenance(frame: pd.DataFrame, facts: Mapping[str, Any]) -> list[str]:
    datasets = facts["datasets"]
    rows = [
        {
            "process": name,
            "source": _MARKS.get(manifest["source"], manifest["source"]),
            "events": f"{manifest['events']:,}",
            "cross section, pb": f"{manifest['cross_section_pb']:.3g}",
            "dataset": f"`{manifest['hash']}`",
        }
        for name, manifest in datasets.items()
    ]
    notes = [f"- {name}: {manifest['note']}" for name, manifest in datasets.items() if manifest["note"]]
    surrogates = [name for name, manifest in datasets.items() if manifest["source"] == "surrogate"]
    commits = sorted(set(frame["git_commit"].dropna()) - {""})
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return [
        "## Provenance",
        "",
        f"`{facts['command']}`, commit {', '.join(f'`{commit}`' for commit in commits) or 'unknown'}, on "
        f"{facts['processor']}. {versions}.",
        "",
        *(
            [f"**Surrogate samples** (right particles, wrong correlations): {', '.join(surrogates)}.", ""]
            if surrogates
            else []
        ),
        *_markdown(pd.DataFrame(rows)),
        "",
        *notes,
        "",
        "Every number above can be followed to its trials: the ledger's record of a trial names its seed, dataset hashes, "
        "backbone hash and commit; MLflow shows the same under the study's name.",
        "",
    ]


def _failures(frame: pd.DataFrame) -> list[str]:
    failed = ledger_frame.failed(frame)
    if failed.empty:
        return []
    rows = [
        {
            "record": f"`{row['record']}`",
            "what": _what(row),
            "seed": "" if pd.isna(row["seed"]) else f"{row['seed']:.0f}",
            "reason": row["reason"],
        }
        for row in failed.to_dict("records")
    ]
    return ["## Failed", "", *_markdown(pd.DataFrame(rows)), ""]


def _what(row: Mapping[Any, Any]) -> str:
    """What a record is of: a cell, a pretraining, the events of a process."""
    if row["level"] == "trial":
        return str(row["cell"])
    return f"{row['pretraining']} pretraining" if row["level"] == "pretraining" else f"events {row['process']}"


def _tasks(row: Mapping[Any, Any]) -> str:
    """`25 tasks (90 %: 18 to 40)`, `never`, with what is known of the interval."""
    return f"{row['text']}{_interval(row)}"


def _interval(row: Mapping[Any, Any]) -> str:
    """` (90 %: 18 to never)`, nothing where one task alone gives no interval."""
    low, high = row["low"], row["high"]
    if not isinstance(low, float) or math.isnan(low):
        return ""
    ends = ["never" if math.isinf(end) else f"{max(1, math.ceil(end)):,}" for end in (low, high)]
    return f" (90 %: {ends[0]} to {ends[1]})" if ends[0] != ends[1] else f" (90 %: {ends[0]})"


def _hours(value: float) -> str:
    return format_hours(value) if isinstance(value, float) and math.isfinite(value) else ""


def _number(value: float) -> str:
    return f"{value:.1f}" if isinstance(value, float) and math.isfinite(value) else ""


def _markdown(table: pd.DataFrame) -> Sequence[str]:
    """A Markdown table; a column that is empty everywhere is left out, a table without rows says so."""
    if table.empty:
        return ["Nothing yet."]
    shown = table.loc[:, [any(str(value) for value in table[column]) for column in table.columns]]
    head = (
        "| " + " | ".join(f"{column:,}" if isinstance(column, int) else str(column) for column in shown.columns) + " |"
    )
    rows = ["| " + " | ".join(str(value).replace("|", "\\|") for value in row) + " |" for row in shown.to_numpy()]
    return [head, "|" + " --- |" * len(shown.columns), *rows]
