"""How much there is to calculate and to move in a training step. Counts; no model runs."""

from torch import Tensor

from breakeven.models.event_network import EventNetwork
from breakeven.models.graph import N_EDGE_FEATURES, N_GLOBAL_FEATURES, N_NODE_FEATURES


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
