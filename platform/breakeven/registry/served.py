"""The backbone as MLflow loads it: from events, or jets, as a table to what it says of them.

MLflow keeps this file beside the weights and runs it where the model is loaded; breakeven must be installed there. Nothing
is pickled: the weights are safetensors.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from breakeven.events.catalogue import levels_of
from breakeven.events.schema import Level
from breakeven.feature import first_misfit, stack
from breakeven.models.backbone import Backbone as Network
from breakeven.training.batches import EventTensors
from breakeven.training.checkpoint import read_model

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of its own type hints when it is imported
    import mlflow.pyfunc

_BATCH = 1024


class BadEvents(ValueError):
    """Events that the network cannot take; the message names the row, the column and the value."""


class Backbone(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """`network` is the torch module, for finetuning: `load_model(...).unwrap_python_model().network`."""

    network: Network

    def load_context(self, context: Any) -> None:
        """Called by MLflow with the folder of the weights."""
        self.network = read_model(Path(context.artifacts["backbone"])).eval()

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        """The representations [n_rows, width] float32; with params={"what": "outputs"} those of the head instead.

        model_input: one row per event, or per jet for networks on jets, as `tensors_of` takes it. Raises BadEvents.
        """
        events = tensors_of(model_input, levels_of(self.network.levels))
        outputs = (params or {}).get("what") == "outputs"
        function = self.network if outputs else self.network.represent
        with torch.no_grad():
            parts = [function(*events.gather(rows)) for rows in torch.arange(events.n_events).split(_BATCH)]
        return torch.cat(parts).numpy()


def tensors_of(table: pd.DataFrame, levels: Sequence[Level]) -> EventTensors:
    """What a network takes, one event per row.

    table: columns by the names and in the units of the events' Parquet files. Of the innermost level, the objects of an event or
    the constituents of a jet, each is a list; with two levels a row is one jet, whose own columns are numbers. Raises BadEvents.
    """
    *outer, inner = levels
    row, lists, numbers = outer[-1].name if outer else "event", inner.inputs, outer[-1].inputs if outer else {}
    if missing := [name for name in (*numbers, *lists) if name not in table]:
        raise BadEvents(f"the {row}s have no column {', '.join(missing)}; they need {', '.join((*numbers, *lists))}")
    if not len(table):
        raise BadEvents(f"there are no {row}s: at least one row is needed")
    *_, reference = lists
    counts = table[reference].map(len).to_numpy()
    if not outer and not counts.all():
        raise BadEvents(f"event {int(np.argmin(counts))} has no object: leave it out, or add its MET")
    flat = {}
    for name, feature in lists.items():
        if (differs := table[name].map(len).to_numpy() != counts).any():
            number = int(np.argmax(differs))
            raise BadEvents(
                f"{row} {number} has {len(table[name].iloc[number])} entries of {name} and {counts[number]} of {reference}"
            )
        flat[feature.name] = np.concatenate([np.asarray(one, dtype=np.float32) for one in table[name]])
    values = _checked(flat, inner, row, np.cumsum(counts))
    offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    features = tuple(level.features for level in levels)
    if not outer:
        return EventTensors(values, offsets, levels=features)
    own = {feature.name: table[name].to_numpy(np.float32) for name, feature in numbers.items()}
    rows = torch.arange(len(table) + 1)
    return EventTensors(_checked(own, outer[-1], row, rows.numpy()[1:]), rows, ((values, offsets),), features)


def _checked(columns: dict[str, np.ndarray], level: Level, row: str, ends: np.ndarray) -> torch.Tensor:
    """All features of a level [n_things, n_features]. ends: [n_rows], where each row's things end. Raises BadEvents."""
    values = stack(columns, level.features)
    if (misfit := first_misfit(values, level.features)) is not None:
        place, what = misfit
        raise BadEvents(f"{row} {int(np.searchsorted(ends, place, side='right'))} has {level.prefix}{what}")
    return torch.from_numpy(values)


mlflow.models.set_model(Backbone())
