"""The benchmark's events in one file, to be carried to a machine that has no datasets and generates none."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from breakeven import atomic
from breakeven.terminal import console
from breakeven.training.batches import EventTensors


def events_of(path: Path | None, datasets: Path, device: str) -> tuple[EventTensors, Tensor]:
    """The benchmark's events and their processes' numbers [n_events] int64, on `device`.

    path: a file of them: read where it exists, else written; None: no file.  datasets: folder that they come from, or go to,
    where there is no file.  device: "cpu" or "cuda"; empty: a GPU where there is one.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if path is not None and path.exists():
        return read(path, device)
    from breakeven.benchmarks.sample import real_events  # it can generate: a machine with the file needs none of that

    events, target = real_events(
        datasets, device, on_generation=lambda name: console.print(f"  generating events of {name}")
    )
    if path is not None:
        write(path, events, target)
    return events, target


def write(path: Path, events: EventTensors, target: Tensor) -> None:
    """Write events and their processes' numbers [n_events] int64 as a compressed .npz, atomically."""
    with atomic.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, nodes=events.nodes.cpu().numpy(), offsets=events.offsets.cpu().numpy(), target=target.cpu().numpy()
        )


def read(path: Path, device: torch.device | str) -> tuple[EventTensors, Tensor]:
    """What `write` wrote, on `device`. Raises FileNotFoundError, and ValueError on a file that holds something else."""
    with np.load(path) as file:
        if missing := {"nodes", "offsets", "target"} - set(file):
            raise ValueError(
                f"{path} lacks {', '.join(sorted(missing))}: write it with --sample on a machine with datasets"
            )
        events = EventTensors.from_arrays(file["nodes"], file["offsets"], device)
        return events, torch.from_numpy(file["target"]).to(events.device)
