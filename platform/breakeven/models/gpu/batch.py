"""The events of a step, made on the device: the buffers of a batch and the launches that fill them.

The sizes of a batch are known on the device alone: the buffers have room for the largest.
"""

from typing import Any

import torch
from torch import Tensor

from breakeven.models.gpu.kernels import batch
from breakeven.models.gpu.launch import Launch
from breakeven.models.gpu.networks import Room


class Batch:
    """The events of K networks as the kernels of kernels/batch.py make them, which has the shapes.

    index: [K, slots] int64, numbers of events.  count: [K] int32, how many of a network's slots hold one.
    named: all that kernels over rows know by name.
    """

    def __init__(self, room: Room, device: torch.device) -> None:
        def numbers(*shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        n_slots, nodes, edges = room.rows("events"), room.rows("nodes"), room.rows("edges")
        self.room = room
        self.index, self.count = numbers(room.networks, room.slots, dtype=torch.int64), numbers(room.networks)
        self.rows = {over: numbers(room.networks, 2) for over in ("nodes", "edges", "events")}
        self.features = {
            "nodes": numbers(nodes, 7, dtype=torch.float32),
            "edges": numbers(edges, 3, dtype=torch.float32),
            "events": numbers(n_slots, 1, dtype=torch.float32),
        }
        self.named = {
            **{f"{over[:-1]}_rows": rows for over, rows in self.rows.items()},
            **{name: numbers(n_slots + 1) for name in ("node_ptr", "edge_ptr")},
            **{name: numbers(edges) for name in ("receiver", "sender")},
            **{name: numbers(nodes) for name in ("event_of", "first_edge")},
            "lost": numbers(room.networks),
        }

    def over(self, rows: str) -> dict[str, Any]:
        """What a kernel over "nodes", "edges" or "events" knows by name."""
        return {**self.named, "rows": self.rows[rows], "features": self.features[rows]}

    def launches(self, events: Tensor, offsets: Tensor, scaling: Tensor, log_momenta: bool) -> list[Launch]:
        """Make the batch from the dataset's events [n_objects, 7] and offsets [n_events + 1]; scaling: [K, 2, 16].

        Where events do not fit into the room, the loss of their networks becomes NaN and nothing is written beyond it.
        """
        room, n_slots = self.room, self.room.rows("events")
        known = {
            **self.named,
            **{f"{over[:-1]}_features": feature for over, feature in self.features.items()},
            **{"events": events, "offsets": offsets, "scaling": scaling, "index": self.index, "count": self.count},
            **{"batch": room.slots, "n_slots": n_slots, "most_nodes": room.nodes, "most_edges": room.edges},
            "wanted": torch.zeros(2, dtype=torch.int32, device=events.device),
        }

        def launch(kernel: Any, programs: int, **options: Any) -> Launch:
            taken = {name: value for name, value in known.items() if name in kernel.arg_names}
            return Launch(kernel, (programs,), {**taken, **options})

        return [
            launch(batch.lay_out, 1, BLOCK=4096, num_warps=16),
            launch(batch.build, n_slots, LOG_MOMENTA=log_momenta, TILE=16, num_warps=1),
        ]
