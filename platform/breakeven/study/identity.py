"""Identities: all that defines the result of a pretraining, a trial or a search, and nothing that cannot.

Pure functions from plain values to dicts, which `fingerprint` turns into names in the ledger. An identity never forgets:
what was said of the first records is said of all, in that form, and a field or version that came later is left out
where it has the value under which nothing changes. So a program that grows finds all that it has computed before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from breakeven.study.spec import EVEN, Finetuning, Network, Pretraining, Search

IDLE_RATIOS = {"scratch": 1.0, "frozen": 0.1, "trees": 1.0, "trees+score": 1.0}
"""Learning-rate ratio of the strategies that use none: a constant, as the first records have it."""

DECIDING: dict[type, tuple[str, ...]] = {
    Network: ("shared_blocks", "iterations", "log_momenta", "initialisation", "engine"),
    Pretraining: ("events_per_process", "epochs", "batch_size", "learning_rate", "decay", "seed"),
    Finetuning: ("batch_size", "decay", "patience", "validation_events", "test_events"),
    Search: ("published", "low", "high"),
}
"""Fields that an identity always says."""
SILENT: dict[type, dict[str, Any]] = {
    Network: {"hidden": 64, "kind": "event_graph", "options": {}, "representation": ""},
    Pretraining: {"precision": "float32", "patience": 0, "symmetries": False},
    Finetuning: {
        "precision": "float32",
        "symmetries": False,
        "slow_start": 1,
        "head_steps": 0,
        "same_events": False,
        "signal_fraction": EVEN,
    },
}
"""Fields that came later, each with the value at which it is left out: the one that all records before it had."""
_DEFAULTS = {kind: kind() for kind in DECIDING}

_UNUSED = {"scratch": ("head_steps",), "frozen": ("head_steps", "symmetries")}
"""Fields of Finetuning that a strategy does not look at, of those that came later: it does not say them."""
_UNSEEN_TEST_EVENTS = 2_000_000
"""What a search trial, which never sees a test event, says of their number: a constant, as the first records have it."""
_FIRST_VERSIONS = ("network", "training", "torch")
"""Versions that an identity always says; the others came later, and are left out where they are "1"."""


@dataclass(frozen=True)
class Asked:
    """What tells a trial of a network from others with the same settings.

    data: dataset hashes of signal and background, those of several processes joined by "+".  backbone: its checkpoint's hash,
    empty from scratch.  epochs: most passes over the training events.  patience: those without a better validation loss.
    warmup: those until the rates have their full size, after which patience counts.
    """

    data: tuple[str, str]
    backbone: str
    strategy: str
    size: int
    phase: str
    seed: int
    ratio: float
    epochs: int
    patience: int
    warmup: int


def trial_identity(settings: Finetuning, network: Network, asked: Asked, versions: Mapping[str, str]) -> dict[str, Any]:
    """Of a trial. A search trial is one on validation events: test events are not said."""
    # Patience counted from the first epoch when there was none of it, and then during the first warm-ups.
    warmed_up = {"warmup": asked.warmup, "patience_after": asked.warmup} if asked.warmup else {}
    training = said(settings) | {"patience": asked.patience} | warmed_up
    for name in _UNUSED.get(asked.strategy, ()):
        training.pop(name, None)
    if asked.phase == "search":
        training["test_events"] = _UNSEEN_TEST_EVENTS
    return {
        "kind": "trial",
        "judged_on": "test" if asked.phase == "confirm" else "validation",
        "signal": asked.data[0],
        "background": asked.data[1],
        "backbone": asked.backbone,
        "strategy": asked.strategy,
        "size": asked.size,
        "seed": asked.seed,
        "rate": float(settings.learning_rate * asked.ratio if asked.strategy == "scratch" else settings.head_rate),
        "ratio": IDLE_RATIOS.get(asked.strategy, float(asked.ratio)),
        "epochs": asked.epochs,
        "network": said(network),
        "training": training,
        "versions": _versions(versions, labelled=False),
    }


def trees_identity(
    settings: Finetuning,
    *,
    data: tuple[str, str],
    size: int,
    seed: int,
    epochs: int,
    versions: Mapping[str, str],
    backbone: str = "",
    network: Network | None = None,
) -> dict[str, Any]:
    """Of a trial with trees, which know no batch. data: dataset hashes of signal and background.  backbone: hash of the one whose
    scores they are given, network: that it is part of then; without, trees know no network.
    """
    training = {name: getattr(settings, name) for name in ("patience", "validation_events", "test_events")}
    return {
        "kind": "trial",
        "judged_on": "test",
        "signal": data[0],
        "background": data[1],
        "backbone": backbone,
        "strategy": "trees+score" if network else "trees",
        "size": size,
        "seed": seed,
        "ratio": 1.0,
        "epochs": epochs,
        "training": training | _told(settings, "same_events", "signal_fraction"),
        "versions": dict(versions),
        **({"network": said(network)} if network else {}),
    }


def _told(settings: Finetuning, *names: str) -> dict[str, Any]:
    """Of fields that came later those that have another value than before they were there."""
    silent = SILENT[Finetuning]
    return {name: getattr(settings, name) for name in names if getattr(settings, name) != silent[name]}


def search_identity(first: Mapping[str, Any], space: Search) -> dict[str, Any]:
    """Of a cell's search: all that defines its trials but seed and ratio, and the space. Proposals are drawn by its hash.

    first: identity of its first trial at ratio 1.
    """
    pruned = {} if space.pruning else {"pruning": False}  # what was pruned is trained to its end in a search anew
    spread = {"spread": True} if space.spread else {}
    return {**first, "seed": space.seeds, "space": said(space), **pruned, **spread}


def pretraining_identity(
    settings: Pretraining, network: Network, data: Sequence[str], versions: Mapping[str, str], start: str = ""
) -> dict[str, Any]:
    """Of a pretraining. data: dataset hashes of the classes, in the order of the class numbers.  start: hash of the
    backbone that it starts from, empty from scratch.
    """
    return {
        "kind": "pretraining",
        "objective": settings.objective,
        "datasets": list(data),
        "network": said(network.backbone),
        "training": said(settings),
        "validation_events": settings.validation_events,
        "versions": _versions(versions, labelled=settings.objective == "multilabel"),
        **({"start": start} if start else {}),
    }


def said(part: Network | Pretraining | Finetuning | Search) -> dict[str, Any]:
    """What an identity says of a part of the specification."""
    kind = type(part)
    part = part.settled() if isinstance(part, Network) else part
    later = {
        name: getattr(part, name) for name, silent in SILENT.get(kind, {}).items() if getattr(part, name) != silent
    }
    fields = {name: getattr(part, name) for name in DECIDING[kind]} | later
    default = _DEFAULTS[kind]
    return {name: _number(value, getattr(default, name)) for name, value in fields.items()}


def _number(value: Any, default: Any) -> Any:
    """A whole number where a fraction is meant is the same number, in a field or in the options of a network."""
    if isinstance(value, Mapping):
        return {name: float(one) for name, one in value.items()}
    return float(value) if isinstance(default, float) else value


def _versions(versions: Mapping[str, str], labelled: bool) -> dict[str, str]:
    return {
        name: version
        for name, version in versions.items()
        if (name in _FIRST_VERSIONS or version != "1") and (labelled or name != "labels")
    }
