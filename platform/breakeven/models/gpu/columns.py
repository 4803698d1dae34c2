"""Where each parameter of a network lies in a row of weights, and in a program's slab of gradients. Knows no GPU."""

import torch
from torch import Tensor

from breakeven.models.event_network import EventNetwork

_ALIGNMENT = 16
"""Rows are whole multiples of so many numbers, so that each network's lie alike in memory and load in wide pieces."""


class Columns:
    """The columns of networks like `model`: parameters in the order of named_parameters, each flat, as StackedNetwork has them.

    width: of a row of weights, filled up by zeros from n_parameters on.  n_backbone: columns before the head's.
    slab_width: of a slab, in which each iteration has a block of its own even where they share one: the
    columns from blocks_begin on, block_width of them, are there once per iteration, and all further ones lie behind.
    """

    def __init__(self, model: EventNetwork) -> None:
        self._begin: dict[str, int] = {}
        at = 0
        for name, parameter in model.named_parameters():
            self._begin[name] = at
            at += parameter.numel()
        self.n_parameters = at
        self.width = -(-at // _ALIGNMENT) * _ALIGNMENT
        self.n_backbone = self._begin["head.weight"]
        self.blocks_begin = self._begin["blocks.0.edges.first.weight"]
        n_blocks = len(model.blocks)
        self.block_width = (self._begin["decoder.first.weight"] - self.blocks_begin) // n_blocks
        self.repeats = model.iterations if model.shared_blocks else 1
        self.slab_width = self.width + (self.repeats - 1) * self.block_width
        self._shared = model.shared_blocks

    def of_weight(self, name: str) -> int:
        """Where the weights of the MLP `name` begin, e.g. "encoder.nodes", "blocks.3.edges", "head"."""
        if self._shared and name.startswith("blocks."):
            name = f"blocks.0.{name.split('.', 2)[2]}"
        return self._begin[f"{name}.weight" if name == "head" else f"{name}.first.weight"]

    def of_slab(self, name: str) -> int:
        """Where their gradients begin in a slab."""
        begin = self.of_weight(name)
        if self._shared and name.startswith("blocks."):
            return begin + int(name.split(".")[1]) * self.block_width
        return begin + (self.repeats - 1) * self.block_width * (begin >= self.blocks_begin + self.block_width)

    def programs(self, edges: int, nodes: int, events: int) -> Tensor:
        """How many programs write each column [width] int32, of kernels over edges, nodes and events."""
        programs = torch.zeros(self.width, dtype=torch.int32)
        over = {"edges": edges, "nodes": nodes, "globals": events, "decoder": events, "head": events}
        for name, begin in self._begin.items():
            mlp = name.split(".")[-3] if not name.startswith("head") else "head"
            programs[begin : self._end(begin)] = over[mlp]
            if name.startswith("blocks.") and ".edges.first." in name:
                of_name = programs[begin : self._end(begin)]
                of_name[:] = nodes  # A, B, D and the bias; C acts on edges
                if name.endswith("weight"):
                    of_name.view(64, 256)[:, 128:192] = edges
        return programs

    def _end(self, begin: int) -> int:
        return min((other for other in self._begin.values() if other > begin), default=self.n_parameters)
