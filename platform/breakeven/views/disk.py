"""What a study takes on disk: its events, and what frozen backbones say of jets, kept beside the ledger. It reads nothing."""

from breakeven.events import catalogue
from breakeven.events.sampling import TEST_FRACTION, VALIDATION_FRACTION
from breakeven.physics.processes import PRETRAINING
from breakeven.study import plan
from breakeven.study.spec import Network, Study

__all__ = ["events_bytes", "kept_bytes"]

_WHOLE, _JET = 150 + 340, 550 + 1500
"""Bytes of a whole event and of a jet with its constituents: Parquet shard plus the flat arrays beside it."""
_JETS_AN_EVENT = 2
"""Large-radius jets of an event of several (HH4b_1000, QCD_600_800: 3,955 and 4,274 bytes per event in all)."""
_VECTORS, _WIDTH = 5, 128
"""Jets of an event of which a vector is kept, and its numbers where a network's options do not say; see models/jet_network.py."""


def events_bytes(study: Study) -> int:
    """Bytes of the events of a study."""
    return sum(study.generation.events(name) * _each(study, name) for name in plan.processes(study, PRETRAINING))


def _each(study: Study, process: str) -> int:
    if process in study.generation.jetclass or catalogue.has_single_jets(process):
        return _JET
    return _WHOLE if catalogue.has_whole_events(process) else _JETS_AN_EVENT * _JET


def kept_bytes(study: Study) -> int:
    """Bytes of what backbones say of the samples of a study's trials, each once per backbone and sample; see work/kept.py."""
    sizes: dict[tuple[str, ...], float] = {}
    for cell in plan.cells(study):
        network = study.networks_by_name()[cell.network] if cell.backbone else Network()
        tuned = cell.strategy == "finetune"
        if not network.representation or (tuned and not study.finetuning.head_steps):
            continue
        seeds = {"search": plan.search_seeds(study), "confirm": plan.confirm_seeds(study)}
        each = _vector_bytes(network)
        for phase, number in plan.trials_of(study, cell).items():
            for seed in seeds[phase] if number else ():
                backbone = plan.in_turns(seed, study.pretrainings_by_name()[cell.pretraining].seeds)
                key = repr(network.backbone), cell.pretraining, str(backbone), cell.task.name
                drawn = "same" if study.finetuning.same_events else str(seed)
                sizes[(*key, "train", str(cell.size), drawn)] = each * 2 * cell.size
                sizes[(*key, "validation")] = each * _evaluated(study, cell, "validation")
                if phase == "confirm" and not tuned:  # what has been finetuned is asked anew
                    sizes[(*key, "test")] = each * _evaluated(study, cell, "test")
    return round(sum(sizes.values()))


def _vector_bytes(network: Network) -> float:
    return 4 * _VECTORS * network.options.get("width", _WIDTH)


def _evaluated(study: Study, cell: plan.Cell, split: str) -> float:
    """Validation or test events of a task, both classes."""
    settings = study.finetuning
    part, most = {
        "validation": (VALIDATION_FRACTION, settings.validation_events), "test": (TEST_FRACTION, settings.test_events),
    }[split]  # fmt: skip
    return sum(min(most, part * sum(map(study.generation.events, of_class))) for of_class in cell.task.classes)
