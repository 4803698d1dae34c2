"""The edge update and the sum of its messages: the one place where a graph network spends its time.

Edges outnumber nodes by the mean number of objects less one, so three quarters of all floating-point operations
happen here. The function is the whole contract: another form of it takes the same arguments and returns the same
two tensors.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from breakeven.models.layers import MLP


class EdgeWeights(NamedTuple):
    """Weights of the edge MLP without what the first layer does to nodes and globals.

    carried: [hidden, hidden], the columns of the first weight that act on y_ij.  weights, biases: of layers
    2 to 4.
    gain, shift: [hidden], of the LayerNorm.  epsilon: of the LayerNorm.
    """

    carried: Tensor
    weights: tuple[Tensor, Tensor, Tensor]
    biases: tuple[Tensor, Tensor, Tensor]
    gain: Tensor
    shift: Tensor
    epsilon: float

    @classmethod
    def of(cls, mlp: MLP) -> "EdgeWeights":
        """The weights of an edge MLP whose inputs are [x_i, x_j, y_ij, z]."""
        hidden = mlp.norm.weight.numel()
        return cls(
            mlp.first.weight[:, 2 * hidden : 3 * hidden],
            (mlp.second.weight, mlp.third.weight, mlp.fourth.weight),
            (mlp.second.bias, mlp.third.bias, mlp.fourth.bias),
            mlp.norm.weight,
            mlp.norm.bias,
            mlp.norm.eps,
        )


def update_edges(
    edges: Tensor,
    receiver_term: Tensor,
    sender_term: Tensor,
    receiver: Tensor,
    sender: Tensor,
    weights: EdgeWeights,
) -> tuple[Tensor, Tensor]:
    """Updated edges [n_edges, hidden] and their sums over each receiver [n_nodes, hidden].

    edges: [n_edges, hidden], y_ij before the update.
    receiver_term: [n_nodes, hidden], the first layer's A x_i + D z + bias.  sender_term: [n_nodes, hidden],
    B x_j.
    receiver, sender: [n_edges] int64, ascending in the receiver.
    """
    # index_select and not indexing: its backward is an index_add, five times as fast on CPU.
    terms = receiver_term.index_select(0, receiver).add_(sender_term.index_select(0, sender))
    activations = torch.addmm(terms, edges, weights.carried.t())
    for weight, bias in zip(weights.weights, weights.biases, strict=True):
        activations = functional.linear(torch.relu_(activations), weight, bias)
    updated = functional.layer_norm(activations, weights.gain.shape, weights.gain, weights.shift, weights.epsilon)
    sums = updated.new_zeros(receiver_term.shape).index_add(0, receiver, updated)
    return updated, sums
