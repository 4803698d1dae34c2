"""Kernels of the encoder: the MLPs on the features of nodes (7), edges (3) and the event (1), forward and backward.

F is the number of features; a product needs 16, so the others are zeros. No gradient goes on to the features.
"""

import triton
import triton.language as tl

from breakeven.models.gpu.kernels.mlp import (
    add_outer,
    add_sums,
    back,
    load_rows,
    load_square,
    load_tail,
    load_vector,
    operand,
    slab_of,
    store_rows,
    store_tail,
    sums_of_events,
    tail,
    tail_backward,
    through,
    tiles_of,
    zero_square,
    zero_vectors,
)

NODES, EDGES, EVENTS = tl.constexpr(7), tl.constexpr(3), tl.constexpr(1)
"""F tells which of the three MLPs runs."""


@triton.jit
def _load_features(X, row, ok, F: tl.constexpr):
    k = tl.arange(0, 16)[None, :]
    return tl.load(X + row[:, None] * F + k, mask=ok[:, None] & (k < F), other=0.0)


@triton.jit
def _load_first(W, F: tl.constexpr, OP: tl.constexpr, PREC: tl.constexpr):
    output, k = tl.arange(0, 64)[:, None], tl.arange(0, 16)[None, :]
    return operand(tl.load(W + output * F + k, mask=(k < F) & (output < 64), other=0.0), OP, PREC)


@triton.jit
def encoder_forward(
    W, stride, rows, features, Y, F: tl.constexpr, BLOCK: tl.constexpr, OP: tl.constexpr, PREC: tl.constexpr
):
    """features: [n, F] -> Y [n, 64].  W: the MLP in the first network's parameters, `stride` from one to the next."""
    W += tl.program_id(1) * stride
    M = W + 64 * F + 64
    w1 = _load_first(W, F, OP, PREC)
    w2, w3, w4 = load_tail(M, OP, PREC)
    first, end, step = tiles_of(rows, BLOCK)
    for tile in range(first, end, step):
        row = tile + tl.arange(0, BLOCK)
        ok = row < end
        p = through(_load_features(features, row, ok, F), w1, OP, PREC) + load_vector(W + 64 * F)
        store_rows(Y, row, ok, tail(p, w2, w3, w4, M, OP, PREC))


@triton.jit
def encoder_backward(
    W, stride, G, slab_width, rows, features, gradient, C, of_nodes, node_ptr,
    F: tl.constexpr, BLOCK: tl.constexpr, OP: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """From the output's gradient to the parameters', into G.

    gradient: [n, 64], of nodes: the output's; of edges: at the first layer of the first block's edges, to go through C,
    that layer's part for edges; of events: the output's but for the sums over the event of of_nodes [nodes, 64].
    """
    network = tl.program_id(1)
    W += network * stride
    C += network * stride
    G = slab_of(G, slab_width)
    M = W + 64 * F + 64
    w1 = _load_first(W, F, OP, PREC)
    w2, w3, w4 = load_tail(M, OP, PREC)
    if F == EDGES:
        c = load_square(C, 256, OP, PREC)
    g1 = tl.zeros([64, 16], tl.float32)
    g2, g3, g4 = zero_square(), zero_square(), zero_square()
    vectors = zero_vectors()
    first, end, step = tiles_of(rows, BLOCK)
    for tile in range(first, end, step):
        row = tile + tl.arange(0, BLOCK)
        ok = row < end
        g = load_rows(gradient, row, ok)
        if F == EDGES:
            g = back(g, c, OP, PREC)
        if F == EVENTS:
            g += sums_of_events(of_nodes, node_ptr, row, ok, BLOCK)
        feature = _load_features(features, row, ok, F).to(OP)
        p = through(feature, w1, OP, PREC) + load_vector(W + 64 * F)
        g, g2, g3, g4, vectors = tail_backward(p, g, ok, w2, w3, w4, g2, g3, g4, vectors, M, OP, PREC)
        vectors = add_sums(vectors, 0, g, ok, OP, PREC)
        g1 = add_outer(g1, g, feature, OP, PREC)
    output, k = tl.arange(0, 64)[:, None], tl.arange(0, 16)[None, :]
    tl.store(G + output * F + k, g1, mask=(k < F) & (output < 64))
    store_tail(G + 64 * F + 64, g2, g3, g4, vectors, FIRST_BIAS=True)
