"""K networks of one shape as the kernels see them, the room that their batches need, and how a kernel is put on rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from breakeven.models.gpu.columns import Columns
from breakeven.models.gpu.kernels import adam, encoder
from breakeven.models.gpu.launch import Launch
from breakeven.models.gpu.tiles import Tiling

ENCODED = {"nodes": encoder.NODES, "edges": encoder.EDGES, "events": encoder.EVENTS}
"""Which of the encoder's MLPs acts on what."""
ENCODERS = {"nodes": "encoder.nodes", "edges": "encoder.edges", "events": "encoder.globals"}

_MOST_ROWS = 2**31 // 64
"""The kernels count the numbers of a buffer [rows, 64] in 32 bits."""
_OPERANDS = {"float32": tl.float32, "tf32": tl.float32, "bfloat16": tl.bfloat16}


@dataclass(frozen=True)
class Room:
    """What the largest batch needs: networks, slots for each one's events, nodes and edges of all networks together.

    Raises ValueError where it is too little for any event or too much for the kernels.
    """

    networks: int
    slots: int
    nodes: int
    edges: int

    def __post_init__(self) -> None:
        for name, least in (("networks", 1), ("slots", 1), ("nodes", 1), ("edges", 0)):
            if not least <= getattr(self, name) < _MOST_ROWS:
                raise ValueError(
                    f"a batch with room for {getattr(self, name)} {name} is asked for; the kernels take from {least} to "
                    f"{_MOST_ROWS - 1}: choose another batch size"
                )

    def rows(self, over: str) -> int:
        """Of a buffer over "nodes", "edges" or "events"; at least one, so that it has an address."""
        return max(1, {"nodes": self.nodes, "edges": self.edges, "events": self.networks * self.slots}[over])


@dataclass(frozen=True)
class Networks:
    """K networks of one shape: their parameters, and how kernels run on them.

    weights: [K, columns.width].  tiling: how rows are cut.  precision: "float32", "tf32" or "bfloat16".
    """

    iterations: int
    n_outputs: int
    columns: Columns
    weights: Tensor
    tiling: Tiling
    precision: str

    @property
    def state(self) -> torch.dtype:
        """How the edges' values lie in memory."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def of(self, mlp: str) -> dict[str, Any]:
        """Where the kernels find the weights of an MLP."""
        return {"W": self.weights[0, self.columns.of_weight(mlp) :], "stride": self.columns.width}

    def launch(self, kernel: Any, cut: str, common: Mapping[str, Any], **own: Any) -> Launch:
        """A kernel over the rows that `cut` names, see Tiling.cut; of `common` it gets what it has a parameter for."""
        tile = self.tiling.cut(cut)
        precision = self._precision_over(cut.split()[0])
        products_of = {"OP": _OPERANDS[precision], "PREC": products(precision, self.weights.device)}
        known = {**common, **products_of, **own}
        taken = {
            name: value.value if isinstance(value, tl.constexpr) else value
            for name, value in known.items()
            if name in kernel.arg_names or name in own
        }
        options = {"BLOCK": tile.rows, "num_warps": tile.warps, "num_stages": 1}
        return Launch(kernel, (tile.programs, len(self.weights)), {**taken, **options})

    def _precision_over(self, rows: str) -> str:
        """Of the products over "edges", "nodes" or "events". Events are few, one row where edges have 36, and their few
        values are alike, so that what bfloat16 rounds off does not average out: a third of the gradient's whole error for
        41 labels.
        """
        return "tf32" if (self.precision, rows) == ("bfloat16", "events") else self.precision

    def launch_over_columns(self, kernel: Any, arguments: Mapping[str, Any]) -> Launch:
        """A kernel over all parameters, such as Adam."""
        tile = self.tiling.columns
        grid = (triton.cdiv(self.columns.width, tile.rows), len(self.weights))
        return Launch(kernel, grid, {**arguments, "BLOCK": tile.rows, "num_warps": tile.warps})

    def adam(self, state: Mapping[str, Tensor]) -> Launch:
        """A step of Adam; state: the other tensors that adam.adam takes."""
        sizes = {"width": self.columns.width, "n_backbone": self.columns.n_backbone}
        return self.launch_over_columns(adam.adam, {"weights": self.weights, **state, **sizes})


def products(precision: str, device: torch.device) -> str:
    """tl.dot's input_precision. On a GPU float32 is six products of bfloat16 parts: the units for float32 itself would
    need thousands of registers."""
    if device.type != "cuda":
        return "ieee"
    return "bf16x6" if precision == "float32" else "tf32"


def padded(n_outputs: int) -> int:
    """Columns of the head's products, which take powers of two from 16 on."""
    return max(16, int(triton.next_power_of_2(n_outputs)))
