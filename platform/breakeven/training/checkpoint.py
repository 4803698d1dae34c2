"""Trainings and models at rest: safetensors for numbers, JSON for the rest, never pickle.

A training's folder holds `epoch-NNNNN/` with weights, best weights, optimiser moments and state.json, within an epoch also
what it has come to; a model's folder holds weights.safetensors and model.json. Folders appear whole or not at all.
"""

import json
import math
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from breakeven import atomic
from breakeven.feature import Feature
from breakeven.models import EVENT_GRAPH
from breakeven.models.backbone import Backbone
from breakeven.models.spec import NetworkSpec
from breakeven.models.weights import load_weights
from breakeven.training.content import (
    CorruptCheckpoint,
    content_hash,
    model_arguments,
    model_levels,
    read_content,
    read_json,
)
from breakeven.training.recipe import Epoch, Recipe, Strategy

NOTHING = torch.zeros(0, dtype=torch.float64)
"""Losses of the batches of an epoch that has not begun."""

__all__ = ["TrainingState", "read_model", "read_state", "read_weights"]


@dataclass(frozen=True)
class TrainingState:
    """All that a training needs to go on as if it had never stopped; tensors are copies.

    The random state is (recipe.seed, number of epochs done): see batches.epoch_order.
    partial: of an epoch that is under way, "losses" [n] float64 of its batches so far, over all workers, and "seconds" [2], wall
    and device, since the start of the training; empty between epochs.
    """

    recipe: Recipe
    strategy: Strategy
    curve: tuple[Epoch, ...]
    best_epoch: int
    weights: Mapping[str, Tensor]
    best_weights: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    partial: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def losses(self) -> Tensor:
        """Of the batches of the epoch under way, [n] float64; none between epochs."""
        return self.partial.get("losses", NOTHING)

    @property
    def seconds(self) -> tuple[float, float]:
        """Wall and device seconds since the start of the training."""
        if self.partial:
            wall, device = self.partial["seconds"].tolist()
            return wall, device
        return self.curve[-1].wall_seconds, self.curve[-1].device_seconds


_PARTS = ("weights", "best_weights", "moments")


def write_state(folder: Path, state: TrainingState) -> None:
    """Write a training's state to its folder and drop older ones; killed at any time, a whole one remains."""
    within = f".{len(state.losses):09d}" if state.partial else ""
    newest = folder / f"epoch-{len(state.curve):05d}{within}"
    if newest.is_dir():  # of an earlier training that was not resumed
        _remove(newest)
    with atomic.replacing(newest) as temporary:
        temporary.mkdir()
        for name in (*_PARTS, "partial") if state.partial else _PARTS:
            _write_tensors(temporary / f"{name}.safetensors", getattr(state, name))
        described = {
            "recipe": asdict(state.recipe),
            "strategy": asdict(state.strategy),
            "best_epoch": state.best_epoch,
            "curve": [_without_nan(asdict(epoch)) for epoch in state.curve],
        }
        (temporary / "state.json").write_text(json.dumps(described, indent=1, allow_nan=False) + "\n")
    for older in _states(folder):
        if older != newest:
            _remove(older)


def read_state(folder: Path) -> TrainingState:
    """The newest state in `folder`.

    Raises:
        FileNotFoundError: there is none.
        CorruptCheckpoint: its file is damaged.
    """
    states = _states(folder)
    if not states:
        raise FileNotFoundError(f"{folder} holds no checkpoint (epoch-NNNNN); start the training without it")
    newest = states[-1]
    described = read_json(newest / "state.json")
    try:
        return TrainingState(
            recipe=Recipe(**described["recipe"]),
            strategy=Strategy(described["strategy"]["name"]),
            curve=tuple(Epoch(**_with_nan(epoch)) for epoch in described["curve"]),
            best_epoch=described["best_epoch"],
            **{name: _read_tensors(newest / f"{name}.safetensors") for name in _PARTS},
            partial=_read_tensors(newest / "partial.safetensors") if "." in newest.name else {},
        )
    except (KeyError, TypeError) as error:
        raise CorruptCheckpoint(
            f"{newest / 'state.json'} was written by another version ({error}); delete {folder} and start again"
        ) from error


def newest_state(folders: Sequence[Path]) -> TrainingState | None:
    """The newest state in the last of `folders` that holds a whole one; None where none does, as after a kill in the first."""
    for folder in reversed(folders):
        with suppress(FileNotFoundError, CorruptCheckpoint):
            return read_state(folder)
    return None


def write_model(folder: Path, model: Backbone, about: Mapping[str, Any] | None = None) -> None:
    """Write a model's weights, and in model.json its arguments, its hash and `about` (JSON-able, not part of the hash).

    Folders are named by what made them: one that is there already is kept as it is.
    """
    with atomic.replacing(folder) as temporary:
        temporary.mkdir()
        _write_tensors(temporary / "weights.safetensors", model.state_dict())
        described: dict[str, Any] = {"model": model.config(), "about": dict(about or {})}
        if model.kind != EVENT_GRAPH:
            described["model"]["kind"] = model.kind
            described["levels"] = [[_plain(feature) for feature in level] for level in model.levels]
        file = temporary / "model.json"
        file.write_text(json.dumps(described, indent=1, allow_nan=False) + "\n")
        described["hash"] = content_hash(temporary)
        file.write_text(json.dumps(described, indent=1, allow_nan=False) + "\n")


def read_model(folder: Path) -> Backbone:
    """The model in `folder`, on CPU.

    Args:
        folder: as `write_model` wrote it.

    Returns:
        The network with its weights.

    Raises:
        FileNotFoundError: a file of it is missing.
        CorruptCheckpoint: a file of it is damaged.
        WeightsDoNotFit: the weights are of another network than model.json says.
    """
    arguments = model_arguments(folder)
    n_outputs, kind = arguments.pop("n_outputs"), arguments.pop("kind", EVENT_GRAPH)
    model = NetworkSpec(kind, arguments).build(model_levels(folder), n_outputs)
    load_weights(model, read_weights(folder), source=str(folder / "weights.safetensors"))
    return model


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The state dict of the model in `folder`, to pass as a backbone."""
    return _read_tensors(folder / "weights.safetensors")


def _plain(feature: Feature) -> dict[str, Any]:
    """What a network may depend on."""
    return {"name": feature.name, "unit": feature.unit, "log_floor": feature.log_floor}


def _remove(state: Path) -> None:
    """Out of sight in one step, then away: a half removed folder is never taken for a checkpoint."""
    hidden = state.with_name(f".{state.name}.{uuid.uuid4().hex[:8]}.removed")
    state.rename(hidden)
    shutil.rmtree(hidden)


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-[0-9]*"))


def _write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    file.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def _read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        return load(read_content(file))
    except SafetensorError as error:
        raise CorruptCheckpoint.of(file, error) from error


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN (an AUC may be one): null stands for it."""
    return {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in values.items()}


def _with_nan(values: dict[str, Any]) -> dict[str, Any]:
    numbers = {field.name for field in fields(Epoch) if field.type in (float, "float")}
    return {key: math.nan if v is None and key in numbers else v for key, v in values.items()}
