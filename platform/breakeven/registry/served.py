"""The backbone as MLflow loads it: from events as a table to what the decoder says of them.

MLflow keeps this file beside the weights and runs it where the model is loaded; breakeven must be installed there. Nothing
is pickled: the weights are safetensors.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from breakeven.feature import OBJECT, first_misfit, stack, stored
from breakeven.models.backbone import Backbone as Network
from breakeven.training.checkpoint import read_model

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of its own type hints when it is imported
    import mlflow.pyfunc

COLUMNS = tuple(feature.name for feature in stored(OBJECT))
"""Columns of an event: a list with one entry per object each, as in the Parquet files of the events."""
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
        """The representations [n_events, width] float32; with params={"what": "outputs"} those of the head instead.

        model_input: one row per event with the columns `COLUMNS`: pt in GeV, phi in rad, charge in e, kind 0 jet, 1 electron,
        2 muon, 3 photon, 4 MET. Raises BadEvents.
        """
        nodes, offsets = graphs_of(model_input)
        network = self.network
        parts = []
        with torch.no_grad():
            for start in range(0, len(offsets) - 1, _BATCH):
                here = offsets[start : start + _BATCH + 1]
                batch = nodes[here[0] : here[-1]], here - here[0]
                outputs = (params or {}).get("what") == "outputs"
                parts.append(network(*batch) if outputs else network.represent(*batch))
        return torch.cat(parts).numpy()


def graphs_of(events: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """Nodes [n_objects, 7] and offsets [n_events + 1], as EventNetwork.forward takes them. Raises BadEvents."""
    if missing := [name for name in COLUMNS if name not in events]:
        raise BadEvents(f"the events have no column {', '.join(missing)}; they need {', '.join(COLUMNS)}")
    if not len(events):
        raise BadEvents("there are no events: at least one row is needed")
    counts = events["kind"].map(len).to_numpy()
    if not counts.all():
        raise BadEvents(f"event {int(np.argmin(counts))} has no object: leave it out, or add its MET")
    flat = {}
    for name in COLUMNS:
        if (differs := events[name].map(len).to_numpy() != counts).any():
            row = int(np.argmax(differs))
            raise BadEvents(
                f"event {row} has {len(events[name].iloc[row])} entries of {name} and {counts[row]} of kind"
            )
        flat[name] = np.concatenate([np.asarray(one, dtype=np.float32) for one in events[name]])
    nodes = stack(flat, OBJECT)
    if (misfit := first_misfit(nodes, OBJECT)) is not None:
        place, what = misfit
        raise BadEvents(f"event {int(np.searchsorted(np.cumsum(counts), place, side='right'))} has {what}")
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return torch.from_numpy(nodes), torch.from_numpy(offsets)


mlflow.models.set_model(Backbone())
