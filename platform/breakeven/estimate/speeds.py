"""How fast this house works, with what uncertainty: from the ledger's own history, from a calibration, or from elsewhere.

Sums over records; it measures nothing and knows no plan.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any, TypeVar, cast

from breakeven import provenance
from breakeven.fingerprint import fingerprint
from breakeven.ledger import levels
from breakeven.study import plan
from breakeven.study.identity import said
from breakeven.study.plan import TREES_EPOCHS
from breakeven.study.spec import BASELINES, Network, Study

MACHINE_NOISE = 0.1
"""Relative change of a speed from day to day that no history shows: what else runs, how warm the processor is."""
CALIBRATION_NOISE = 0.25
"""Relative error of a speed from twenty seconds of one process at one size of batch."""
ELSEWHERE_NOISE = 1.0
"""Of a speed that another machine had: it may be half or double."""


@dataclass(frozen=True)
class Speed:
    """A speed, in units per device-second, and its relative uncertainty: the truth is likely within a factor of 1 + that."""

    value: float
    uncertainty: float


@dataclass(frozen=True)
class Speeds:
    """What is known of a machine for one study's network, batch size and stopping rule."""

    trained: Speed
    """Event passes (forward, backward, step) per device-second in trials."""
    pretrained: Speed
    """The same in pretraining."""
    generated: Speed
    """Events per core-second, for a process that is not in `processes`."""
    origin: str
    """Where the numbers come from, for people."""
    trusted: bool
    """Whether they come from this machine."""
    processes: Mapping[str, float] = field(default_factory=dict)
    """Events per core-second of each process that was generated here."""
    trials: Mapping[tuple[str, int, str], tuple[float, float, int]] = field(default_factory=dict)
    """Mean and standard deviation of the device-seconds of a trial, and their number, by strategy, size and phase."""
    steps: Mapping[str, float] = field(default_factory=dict)
    """Mean gradient steps that trials of a strategy made before the epochs of their patience."""


ELSEWHERE = Speeds(
    trained=Speed(2900.0, ELSEWHERE_NOISE),
    pretrained=Speed(4000.0, ELSEWHERE_NOISE),
    generated=Speed(470.0, ELSEWHERE_NOISE),
    origin="one core of a two-core cloud machine with AVX-512, multiparton interactions off; half or double is possible here",
    trusted=False,
)
"""Speeds of the laptop preset at commit bc7c5da, for a machine of which nothing is known."""


_JETS_AN_EVENT, _CONSTITUENTS = 2.5, 45


def elsewhere(network: Network) -> Speeds:
    """What a machine of which nothing is known may have for this network.

    A Particle Transformer's pace goes with its arithmetic to the power of 0.73, as large products run faster: 1,017 jets per
    core-second are trained on with width 32 and two blocks, 65 with the published size.
    """
    if network.kind != "jet_transformer":
        return ELSEWHERE
    jets = (
        1017.0
        * (_products(network.options) / _products({"width": 32, "blocks": 2, "class_blocks": 1, "pairs": 8})) ** -0.73
    )
    speed = Speed(jets / _JETS_AN_EVENT, ELSEWHERE_NOISE)
    return replace(ELSEWHERE, trained=speed, pretrained=speed, generated=Speed(150.0, ELSEWHERE_NOISE))


def _products(options: Mapping[str, float]) -> float:
    """Multiplications of one jet in a Particle Transformer, roughly; options: see JetNetwork, whose defaults are as published."""
    width, pairs = options.get("width", 128), options.get("pairs", 64)
    blocks = options.get("blocks", 8) + options.get("class_blocks", 2)
    layers = options.get("pair_layers", 1 if "pairs" in options else 3)
    n = min(_CONSTITUENTS, options.get("constituents") or _CONSTITUENTS)
    of_pairs = n * n / 2 * (12 * pairs + (layers - 1) * pairs**2)
    return blocks * (12 * width**2 * n + 2 * n**2 * width) + n * (17 * width + 8 * width**2) + of_pairs


WITH_MULTIPARTON = 4.0
"""How much longer an event takes with multiparton interactions."""

_Training = TypeVar("_Training", levels.Trial, levels.Pretraining)


def key(study: Study) -> str:
    """Hash of what decides a speed besides the machine: network, batch size, multiparton interactions.

    What a backbone is to tell of each jet changes it little.
    """
    return fingerprint(
        [said(study.network.backbone), study.finetuning.batch_size, study.generation.multiparton_interactions]
    )


def speeds(study: Study, records: Iterable[Mapping[str, Any]], calibration: Mapping[str, Any] | None) -> Speeds:
    """The best that is known: finished records of this processor with the same network and batch size, else calibration.

    Where the ledger holds trials on GPUs those decide; hours of two kinds of device, or of two kernels, are never averaged.
    """
    here = [record for record in records if record["outcome"] == "finished" and record["device_seconds"] > 0]
    made_here = provenance.processor()
    of_trials = [cast(levels.Trial, record) for record in here if record["level"] == "trial"]
    trials = [record for record in of_trials if _alike(record, study, made_here)]
    if any(record["device"] != "cpu" for record in trials):
        trials = [record for record in trials if record["device"] != "cpu"]
    trials = _of_last_kernel(trials)
    trees = [record for record in of_trials if record["strategy"] in BASELINES and record.get("processor") == made_here]
    mpi = study.generation.multiparton_interactions
    made = [cast(levels.Generation, record) for record in here if record["level"] == "generation"]
    events = [r for r in made if r.get("processor", made_here) == made_here and bool(r.get("mpi")) == mpi]
    learnt = [cast(levels.Pretraining, record) for record in here if record["level"] == "pretraining"]
    backbones = [r for r in learnt if r.get("processor") == made_here
                 and r["identity"]["network"] == said(study.network.backbone)]  # fmt: skip
    backbones = _of_last_kernel(backbones)
    unknown = elsewhere(study.network)
    if mpi:
        slower = Speed(unknown.generated.value / WITH_MULTIPARTON, ELSEWHERE_NOISE)
        unknown = replace(
            unknown, generated=slower, origin=unknown.origin.replace("interactions off", "interactions on")
        )
    base, origins = unknown, []
    if calibration:
        base = Speeds(
            trained=Speed(calibration["trained"], CALIBRATION_NOISE),
            pretrained=Speed(calibration["trained"], 2 * CALIBRATION_NOISE),
            generated=Speed(calibration["generated"], 2 * CALIBRATION_NOISE),
            origin=f"a calibration of {calibration['seconds']:.0f} seconds on this machine",
            trusted=True,
        )
        origins.append(base.origin)
    if trials:
        rates = [_passes(record) / record["device_seconds"] for record in trials if record["strategy"] != "frozen"]
        trained = _speed(rates) if rates else base.trained
        base = Speeds(trained, base.pretrained, base.generated, base.origin, True)
        origins.insert(0, f"{len(trials):,} trials of this network on this machine")
    if backbones:
        pretrained = _speed([record["events_seen"] / record["device_seconds"] for record in backbones])
        base = Speeds(base.trained, pretrained, base.generated, base.origin, True)
    processes = _by_process(events)
    if processes:
        base = Speeds(base.trained, base.pretrained, _speed(list(processes.values())), base.origin, base.trusted)
        origins.insert(0, f"{len(processes)} processes generated on this machine")
    if not origins:
        return unknown
    return Speeds(base.trained, base.pretrained, base.generated, " and ".join(origins), base.trusted, processes,
                  _by_kind([*trials, *trees], study), _steps(trials))  # fmt: skip


def read_calibration(ledger: Path, study: Study) -> dict[str, Any] | None:
    """The calibration of this machine for a study, or None; one that cannot be read is made again."""
    try:
        known: dict[str, Any] = json.loads(calibration_path(ledger, study).read_text())
        return known
    except (OSError, ValueError):
        return None


def calibration_path(ledger: Path, study: Study) -> Path:
    """Where the calibration of this machine for a study lies."""
    return ledger / "calibrations" / f"{fingerprint([key(study), provenance.processor()])}.json"


def _alike(record: levels.Trial, study: Study, processor: str) -> bool:
    identity = record["identity"]
    if record["strategy"] in BASELINES:
        return False
    return (
        record.get("processor") == processor
        and identity["network"] == said(study.network)
        and identity["training"]["batch_size"] == study.finetuning.batch_size
    )


def _of_last_kernel(records: list[_Training]) -> list[_Training]:
    """Those of the kernel that ran last, as the next ones will; older records do not name theirs, and go together."""
    last = {record["ended"]: record.get("kernel") for record in records}
    return [record for record in records if record.get("kernel") == last[max(last)]]


def _passes(record: levels.Trial) -> float:
    """Event passes of a trial; evaluation costs a third of training per event."""
    evaluated = record.get("validation_events", 0) * record["epochs"] + record.get("test_events", 0)
    return float(record["events_seen"] + evaluated / 3)


def _speed(rates: list[float]) -> Speed:
    """The median rate; its uncertainty from the spread of the rates, which are of different kinds of work."""
    logs = [math.log(rate) for rate in rates]
    return Speed(math.exp(sorted(logs)[len(logs) // 2]), max(stdev(logs) if len(logs) > 1 else 0.3, MACHINE_NOISE))


def _by_process(events: list[levels.Generation]) -> dict[str, float]:
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for record in events:
        sums[record["process"]][0] += record["events"]
        sums[record["process"]][1] += record["device_seconds"]
    return {process: n / seconds for process, (n, seconds) in sums.items()}


def _by_kind(trials: list[levels.Trial], study: Study) -> dict[tuple[str, int, str], tuple[float, float, int]]:
    """Trials of the same kind, limit of epochs, events to evaluate and stopping rule take about the same time."""
    seconds: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    settings = study.finetuning
    for record in trials:
        training, size = record["identity"]["training"], record["size"]
        trees = record["strategy"] in BASELINES
        limit = TREES_EPOCHS if trees else plan.epochs(settings, size)
        rule = (settings.patience if trees else plan.patience(settings, size), settings.validation_events)
        if (training["patience"], training["validation_events"]) == rule and record["identity"]["epochs"] == limit:
            seconds[record["strategy"], record["size"], record["phase"]].append(record["device_seconds"])
    return {
        kind: (mean(all_), stdev(all_) if len(all_) > 1 else mean(all_), len(all_)) for kind, all_ in seconds.items()
    }


def _steps(trials: list[levels.Trial]) -> dict[str, float]:
    steps: dict[str, list[float]] = defaultdict(list)
    for record in trials:
        training, patient = record["identity"]["training"], record.get("stopped") == "plateau"
        epochs = record["epochs"] - (training["patience"] if patient else 0)
        steps[record["strategy"]].append(epochs * math.ceil(2 * record["size"] / training["batch_size"]))
    return {strategy: mean(of_trials) for strategy, of_trials in steps.items()}
