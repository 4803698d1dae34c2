"""How a table says what its columns mean, with their units: once, where it is computed; the files beside a report repeat it.

Holds the columns that many tables share.
"""

_SHARED = {
    "task": "signal against background, by name",
    "signal": "process called signal",
    "background": "process called background",
    "pretraining": "pretraining objective of the backbone, none from scratch",
    "strategy": "scratch | trees | trees+score | finetune | frozen",
    "size": "training events per class; empty: over all sizes",
    "cell": "task/pretraining/strategy/size",
    "n": "number of repetitions (seeds or pairs of seeds)",
    "n_failed": "failed records that no later try finished",
    "n_stopped": "search trials ended early because they were losing",
    "n_tasks": "tasks averaged over",
    "status": "finished | failed | missing",
    "low": "lower end of the 90 % interval",
    "high": "upper end of the 90 % interval",
    "smallest": "smallest size measured, events per class",
    "largest": "largest size measured, events per class",
    "prediction_low": "lower end of the 90 % interval of what new seeds are predicted to give",
    "prediction_high": "upper end of the 90 % interval of what new seeds are predicted to give",
    "published": "value printed in arXiv 2412.10665, in the unit of ours",
    "published_uncertainty": "uncertainty printed in arXiv 2412.10665",
    "unit": "cpu_hours | gpu_hours, mixed where hours of both are in a row",
    "device": "kind of device, several joined by +",
    "processor": "processor or GPU model, several joined by +",
    "pretraining_hours": "T_pre, device-hours",
    "scratch_hours": "mean T_scratch of one task, device-hours",
    "finetuning_hours": "mean T_finetune of one task, device-hours",
    "exact": "N* = T_pre / (T_scratch - T_finetune); empty: never",
    "tasks": "first whole number of tasks from which pretraining is cheaper; empty: never",
    "record": "hash of the record in the ledger",
    "outcome": "finished | failed | stopped",
    "seed": "seed of the initialisation and the random subset",
    "ratio": "backbone learning rate / head learning rate; from scratch: learning rate / the published one",
    "dataset": "hash of the events",
    "backbone": "hash of the backbone",
    "device_seconds": "device-seconds charged",
    "plateau_seconds": "device-seconds until the plateau; empty: none was reached",
    "git_commit": "commit of the code",
    "reason": "why it failed or was stopped",
    "text": "the figure as the report words it",
    "note": "what a reader must know of this row",
}


_SPREAD = {
    "sd": "standard deviation (n - 1)",
    "low": _SHARED["low"],
    "high": _SHARED["high"],
    "seed_se": "standard error from seeds alone, from backbones too where each seed has its own; empty: one seed;",
    "backbone_se": "standard error from backbones that several seeds share; empty: one backbone, or one a seed;",
    "test_se": "standard error from the test sample, which no number of seeds makes smaller; empty: unknown;",
}


def columns(text: str) -> dict[str, str]:
    """The columns of a table, in order, with what each means.

    text: one column a line, as `name: its meaning, its unit`; `name name_sd name_low name_high: ...` for a figure with
    its uncertainties; names alone for columns that many tables share.
    Raises KeyError naming a column that is neither described nor shared.
    """
    meanings: dict[str, str] = {}
    for line in filter(str.strip, text.splitlines()):
        names, _, meaning = line.partition(": ")
        first, *others = names.split()
        if not meaning:
            meanings |= {name: _SHARED[name] for name in (first, *others)}
            continue
        meanings[first] = meaning
        meanings |= {name: f"{_SPREAD[name.removeprefix(f'{first}_')]} of {meaning}" for name in others}
    return meanings
