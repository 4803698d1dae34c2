"""The winner of a study as files and as an entry in the registry."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from breakeven import atomic
from breakeven.analysis import backbones
from breakeven.analysis import frame as ledger_frame
from breakeven.events.catalogue import levels_of
from breakeven.events.schema import Level
from breakeven.ledger.ledger import Ledger
from breakeven.metric import MERIT, Metric
from breakeven.models import EVENT_GRAPH
from breakeven.registry.card import card
from breakeven.registry.kinds import KINDS
from breakeven.tracking.models import Column, Model
from breakeven.training.content import CorruptCheckpoint, content_hash, model_arguments, model_levels

__all__ = ["NoBackbone", "Winner", "winner", "write_files"]

SERVED = Path(__file__).with_name("served.py")


class NoBackbone(ValueError):
    """A study's backbone cannot be given away; the message says why."""


@dataclass(frozen=True)
class Winner:
    """The backbone that helped most on validation events."""

    name: str
    """In MLflow's registry."""
    objective: str
    record: str
    """Of its pretraining, in the ledger."""
    weights: Path
    width: int
    """Numbers that it gives for each event, or each jet."""
    levels: tuple[Level, ...]
    """Of the events that it takes."""
    card: str
    tags: Mapping[str, str]

    def as_model(self) -> Model:
        """What the registry is given."""
        columns = {
            name: Column(feature.whole, level is self.levels[-1], feature.values)
            for level in self.levels
            for name, feature in level.inputs.items()
        }
        return Model(self.name, self.weights, SERVED, columns, self.width, self.card, self.tags)


def winner(
    study: str,
    frame: pd.DataFrame,
    facts: Callable[[], Mapping[str, Any]],
    ledger: Ledger,
    folder: Path,
    *,
    merit: Metric = MERIT,
) -> Winner:
    """The backbone of a study that helped most on validation events, over training its own network from scratch.

    Args:
        study: its name.
        frame: its ledger frame.
        facts: gives what its report knows of it; asked for its card.
        ledger: where its pretraining is recorded.
        folder: of all backbones.
        merit: the study's figure of merit.

    Returns:
        The winner, with all that its card says.

    Raises:
        NoBackbone: nothing was finetuned, or the weights are elsewhere.
    """
    parts = ledger_frame.by_network(frame)
    ranked = pd.concat(
        [backbones.ranking(part, merit=merit).assign(network=network) for network, part in parts.items()]
    )
    ranked = ranked.sort_values("validation_gain", ascending=False, kind="stable")
    if ranked.empty:
        raise NoBackbone(
            f"{study} has no backbone that was finetuned and held against scratch on the same seeds yet; finish it"
        )
    best = {str(name): value for name, value in ranked.iloc[0].items()}
    made, name = ledger.get(best["record"]), f"{study}-backbone"
    weights = folder / best["record"]
    if made is None or not weights.is_dir():
        raise NoBackbone(f"{weights} is not here: copy it from where the study ran, beside the ledger")
    known = facts()
    if (kind := made["identity"]["network"].get("kind", EVENT_GRAPH)) not in KINDS:
        raise NoBackbone(
            f"{study} has backbones of the kind {kind}, a plug-in's: only those of {', '.join(KINDS)} are given away; the "
            f"weights are in {weights}, for training.checkpoint.read_model"
        )
    try:
        there = content_hash(weights)
    except (CorruptCheckpoint, FileNotFoundError) as error:
        raise NoBackbone(f"{error}; copy {weights} again from where the study ran, or start the study again") from error
    if there != made["backbone"]:
        raise NoBackbone(
            f"{weights} holds weights that hash to {there}, and the study's are {made['backbone']}: copy it again from where the "
            "study ran, or start the study again"
        )
    tags = {
        "study": study, "objective": made["identity"]["objective"], "pretraining": best["pretraining"],
        "backbone": best["backbone"], "record": best["record"],
        "dataset": made["dataset"], "git_commit": made["git_commit"],
        "merit": merit.name, "chosen_by": best["chosen_by"],
        "validation_gain": f"{best['validation_gain']:.3f}", "test_gain": f"{best['gain']:.3f}",
        "n_cells": str(best["n_cells"]), "n_tasks": str(best["n_tasks"]),
    }  # fmt: skip
    levels, arguments = levels_of(model_levels(weights)), model_arguments(weights)
    width = int(arguments["width" if "width" in arguments else "hidden"])
    shown = card(name, best, made, parts[best["network"]], known, levels, width)
    return Winner(name, best["pretraining"], best["record"], weights, width, levels, shown, tags)


def write_files(best: Winner, folder: Path, onnx: bool) -> list[Path]:
    """Write weights, model.json, the card and, where asked for, the ONNX file.

    Args:
        best: the winner.
        folder: where to.
        onnx: write the ONNX file as well.

    Returns:
        The paths of all files.

    Raises:
        NoBackbone: the packages that write ONNX are missing, or the weights are damaged.
        OSError: the disk is full.
    """
    from breakeven.models.onnx_file import NoOnnx
    from breakeven.training.checkpoint import read_model

    written = []
    for file in sorted(best.weights.iterdir()):
        with atomic.replacing(folder / file.name) as temporary:
            temporary.write_bytes(file.read_bytes())
        written.append(folder / file.name)
    atomic.write_text(folder / "README.md", best.card)
    written.append(folder / "README.md")
    if onnx:
        try:
            network = read_model(best.weights)
            kind = importlib.import_module(KINDS[network.kind].onnx)
            kind.export_onnx(network, folder / "backbone.onnx")
        except (NoOnnx, CorruptCheckpoint) as error:
            raise NoBackbone(str(error)) from error
        written.append(folder / "backbone.onnx")
    return written
