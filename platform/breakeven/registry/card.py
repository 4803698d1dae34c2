"""The model card: what a backbone is, what goes into it, what it was trained on, what it is worth, what it is not.

Text from facts; it reads no file and computes no figure.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from breakeven.analysis import accuracy
from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.statistics import Estimate
from breakeven.events.schema import Level
from breakeven.metric import METRICS, Metric
from breakeven.registry.kinds import KINDS
from breakeven.report.wording import events_in_words
from breakeven.study.spec import Network


def card(
    name: str,
    best: Mapping[str, Any],
    made: Mapping[str, Any],
    frame: pd.DataFrame,
    facts: Mapping[str, Any],
    levels: Sequence[Level],
    width: int,
) -> str:
    """Markdown. name: in the registry.  best: its row of backbones.ranking.  made: the ledger's record of its pretraining.

    frame, facts: of the study, as the report has them.  levels: of the events that it takes.  width: numbers that it gives.
    """
    spec, training = facts["spec"], made["identity"]["training"]
    merit, chooses = METRICS[spec["finetuning"]["merit"]], METRICS[best["chosen_by"]]
    pretraining = spec.get("pretrainings", {}).get(best["pretraining"]) or spec["pretraining"]
    network = Network(**made["identity"]["network"])
    kind = KINDS[network.kind]
    read = {
        process: manifest
        for process, manifest in facts["datasets"].items()
        if manifest["hash"] in made["identity"]["datasets"]
    }
    samples = [
        f"- {process}: {events_in_words(manifest)} generated ({manifest['source']}), dataset `{manifest['hash']}`"
        for process, manifest in read.items()
    ]
    objective = made["identity"]["objective"]
    outputs = "12 processes" if objective == "multiclass" and len(samples) == 12 else f"{objective} head"
    by_hash = {manifest["hash"]: process for process, manifest in read.items()}
    classes = [by_hash[one] for one in made["identity"]["datasets"] if one in by_hash]
    start = made["identity"].get("start", "")
    lines = [
        f"# {name}",
        "",
        f"Backbone of the study *{facts['study']}*: {kind.network}, pretrained by "
        f"{objective} classification ({outputs}), {best['pretraining']} in the study. Of the study's backbones the one that "
        "helped most on validation events.",
        "",
        "```python",
        "import mlflow",
        'mlflow.set_tracking_uri("URI")      # the study\'s: a server, or sqlite:////path/to/runs/mlflow.db',
        f'features = mlflow.pyfunc.load_model("models:/{name}@winner").predict({kind.row}s)     # [n_{kind.row}s, {width}]',
        "```",
        "",
        "Needs this package where it is loaded. `load_model(...).unwrap_python_model().network` is the torch module, to go on "
        'training it; `predict(events, params={"what": "outputs"})` gives the pretraining head\'s outputs. '
        f"`breakeven export {facts['study']} --onnx` writes it for programs without torch.",
        "",
        "## Input",
        "",
        kind.frame,
        "",
        "| column | unit | meaning |",
        "| --- | --- | --- |",
        *(f"| {column} | {one.values} | {one.title} |" for level in levels for column, one in level.inputs.items()),
        "",
        f"Output: [n_{kind.row}s, {width}] float32, {kind.says}. Feature statistics are in the weights: give physical units, "
        f"unscaled. The pretraining head gives {_outputs(objective, classes)}.",
        "",
        "## Training",
        "",
        f"{made.get('epochs', training['epochs'])} epochs, batch {training['batch_size']}, Adam at "
        f"{training['learning_rate']:g} x {training['decay']}^epoch, {kind.size(network)}, seed "
        f"{training['seed']}; "
        f"{made['device_seconds'] / 3600:.3g} device-hours on {made.get('processor') or made['device']}. "
        f"Weights{_best_epoch(made)} `{best['backbone']}`, record `{best['record']}`, commit `{made['git_commit']}`.",
        "",
        f"Events ({_origin(read)}{kind.detector}"
        + ("" if spec["generation"]["multiparton_interactions"] else ", without multiparton interactions")
        + "):",
        "",
        *samples,
        *_trained_on(made),
        *(["", f"It started from the backbone `{start}` of another pretraining, whose events and hours are not in these."]
          if start else []),
        "",
        "## What it is worth",
        "",
        f"Finetuned against training from scratch, same seeds and events, mean over {best['n_tasks']} task(s), in all "
        f"{best['n_cells']} cells: {_points(best, 'validation_gain', chooses)} on validation events, by which it was chosen, and "
        f"{_points(best, 'gain', merit)} on test events, which chose nothing. It was chosen by the same networks' validation "
        f"{chooses.title}, "
        f"so a little of its luck may remain in the test gain. {_backbones(pretraining.get('seeds', 1))}",
        "",
        *_gains(frame, best["pretraining"], merit),
        "",
        "## What it is not",
        "",
        f"- Trained on simulation {_order(read)}with a parametrised detector, without pile-up: calibrate before data.",
        "- The tasks' processes may be among those it was pretrained on (never the same test events).",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _outputs(objective: str, classes: Sequence[str]) -> str:
    """What the numbers of the pretraining head are."""
    if objective == "multiclass":
        return f"a logit for each of {', '.join(classes)}, in this order"
    if objective == "xbb":
        return "one logit, above 0 for a Higgs boson to two bottom quarks, both in the jet"
    return "the truth labels of the events' schema, in its order"


def _backbones(seeds: int) -> str:
    """What the gain says of other backbones of the same kind."""
    if seeds == 1:
        return "All finetunings share one pretraining run: no interval contains the scatter of pretraining seeds."
    return (
        f"The gain is the mean over finetunings of {seeds} backbones; this one has the lowest validation loss of them."
    )


def _best_epoch(made: Mapping[str, Any]) -> str:
    """` of epoch 4 of 5, that of the lowest validation loss,`; nothing where the record does not tell."""
    if made.get("best_epoch") is None:
        return ""
    return f" of epoch {made['best_epoch'] + 1} of {made['epochs']}, that of the lowest validation loss,"


def _trained_on(made: Mapping[str, Any]) -> list[str]:
    """How many of the generated events were trained on, as far as the record and the settings tell."""
    events, most = made.get("train_events"), made["identity"]["training"]["events_per_process"]
    what = "of their jets" if made["identity"]["objective"] == "xbb" else "of them"
    trained = f"Trained on {events:,} {what}" if events is not None else "Trained on those of the training split"
    return ["", trained + (f", at most {most:,} of each process." if most else ".")]


def _of_files(read: Mapping[str, Mapping[str, Any]]) -> str:
    """The processes that are from LHE files: of neither our energy nor our order."""
    return ", ".join(process for process, manifest in read.items() if manifest["source"] == "lhe")


def _generated(read: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether any process is one of ours at leading order and 13 TeV."""
    return any(manifest["source"] != "lhe" for manifest in read.values())


def _origin(read: Mapping[str, Mapping[str, Any]]) -> str:
    """Collider and energy, with the processes that they do not hold for."""
    files, ours = _of_files(read), _generated(read)
    but = f"{'but ' if ours else ''}{files} at the energy of the files it was made from, " if files else ""
    return ("LHC, 13 TeV, " if ours else "") + but


def _order(read: Mapping[str, Mapping[str, Any]]) -> str:
    """`at leading order `, with the processes that it does not hold for, nothing where it holds for none."""
    if not _generated(read):
        return ""
    return f"at leading order (not {files}) " if (files := _of_files(read)) else "at leading order "


def _points(row: Mapping[str, Any], name: str, metric: Metric) -> str:
    if pd.isna(row[name]):
        return f"no figure of {metric.title}"
    text = f"{row[name]:+.2f} {metric.points if metric.unit else metric.title}"
    known = pd.notna(row[f"{name}_low"])
    return text + (f" (90 % over tasks: {row[f'{name}_low']:+.2f} to {row[f'{name}_high']:+.2f})" if known else "")


def _gains(frame: pd.DataFrame, pretraining: str, merit: Metric) -> list[str]:
    """What is gained of the figure of merit, a row a task, a column a size."""
    gains = accuracy.gains(frame, merit=merit)
    ours = gains[(gains["pretraining"] == pretraining) & (gains["strategy"] == "finetune") & (gains["n"] > 0)]
    sizes = sorted(set(ours["size"]))
    rows = ["| task | " + " | ".join(f"{size:,}" for size in sizes) + " |", "| --- |" + " --- |" * len(sizes)]
    for task in ledger_frame.ordered_tasks(ours):
        of_size = {row["size"]: row for row in ours[ours["task"] == task].to_dict("records")}
        cells = [_gain(of_size[size]) if size in of_size else "" for size in sizes]
        rows.append(f"| {ledger_frame.title(task)} | " + " | ".join(cells) + " |")
    return [f"Gain in test {merit.title}, {merit.points}, by training events per class (± standard deviation over n seeds):",
            "", *rows]  # fmt: skip


def _gain(row: Mapping[Any, Any]) -> str:
    return Estimate(row["gain"], row["gain_sd"], row["n"], math.nan, math.nan).text(sign=True)
