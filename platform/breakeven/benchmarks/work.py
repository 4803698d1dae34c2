"""How much there is to calculate, and how fast this machine multiplies matrices. Counts and measures, no model runs."""

from collections.abc import Callable

import torch
from torch import Tensor

from breakeven.models.event_network import EventNetwork
from breakeven.models.graph import N_EDGE_FEATURES, N_GLOBAL_FEATURES, N_NODE_FEATURES

_ROWS = (1024, 4096, 16384)


def model_flop(model: EventNetwork, offsets: Tensor) -> int:
    """Floating-point operations of one training step in the split form, two for each multiply-add of a matrix product.

    offsets: [n_events + 1], of the step's events. Backward counts twice forward; what a kernel computes again, and all
    that is no matrix product, does not count. So a form that multiplies more (DGL's concatenation) gains nothing here.
    """
    hidden = model.hidden
    objects = offsets.diff()
    n_nodes, n_edges, n_events = int(objects.sum()), int((objects * (objects - 1)).sum()), len(objects)
    square = hidden * hidden
    encoder = (
        n_nodes * (N_NODE_FEATURES * hidden + 3 * square)
        + n_edges * (N_EDGE_FEATURES * hidden + 3 * square)
        + n_events * (N_GLOBAL_FEATURES * hidden + 3 * square)
    )
    # Per node: two terms for its edges and the node MLP (x and messages); per edge: y and three layers; per event:
    # its terms for edges and nodes and the global MLP on three inputs.
    block = n_nodes * (2 + 2 + 3) * square + n_edges * (1 + 3) * square + n_events * (1 + 1 + 3 + 3) * square
    decoder_and_head = n_events * (4 * square + hidden * model.n_outputs)
    return 3 * 2 * (encoder + model.iterations * block + decoder_and_head)


def state_bytes(model: EventNetwork, offsets: Tensor, element_size: int) -> int:
    """Bytes that a training step moves at least where its states lie in memory, each of `element_size` bytes.

    States of all edges, nodes and events of `offsets` [n_events + 1], after the encoder and after each iteration: written
    and read forward, read backward, and their gradients written and read. Weights, inputs and inner layers do not count.
    """
    objects = offsets.diff()
    rows = int((objects * (objects - 1)).sum()) + int(objects.sum()) + len(objects)
    return 5 * (1 + model.iterations) * rows * model.hidden * element_size


def products(device: torch.device | str = "cpu") -> dict[str, tuple[Callable[[], object], int]]:
    """Work that shows the float32 matrix peak, with its floating-point operations.

    "narrow n": [n, 64] x [64, 64], the product that this network is made of, at sizes that lie in a cache;
    "wide": [1024, 1024] x [1024, 1024], the best that the library can do.
    """
    works: dict[str, tuple[Callable[[], object], int]] = {}
    for name, rows, width in (*((f"narrow {rows}", rows, 64) for rows in _ROWS), ("wide", 1024, 1024)):
        left, right = torch.rand(rows, width, device=device), torch.rand(width, width, device=device)
        flop = 2 * rows * width * width
        times = max(1, 500_000_000 // flop)
        works[name] = (_repeated(left, right, torch.empty_like(left), times), times * flop)
    return works


def _repeated(left: Tensor, right: Tensor, out: Tensor, times: int) -> Callable[[], object]:
    def multiply() -> None:
        for _ in range(times):
            torch.mm(left, right, out=out)

    return multiply
