"""Kernels of a block's edges: the split first layer's terms, the edges' MLP, and sums over edges, forward and backward.

W[x_i, x_j, y_ij, z] = A x_i + B x_j + C y_ij + D z: A, B and D multiply nodes and events once (event_network.py), into
the terms of receiver (A x_i + D z + bias) and sender (B x_j). An edge's four products and its LayerNorm then stay in
registers. In memory A, B, C and D are the columns 0, 64, 128 and 192 of one weight [64, 256].
"""

import triton
import triton.language as tl

from breakeven.models.gpu.kernels.mlp import (
    add_outer,
    back,
    load_rows,
    load_square,
    load_tail,
    load_vector,
    slab_of,
    store_rows,
    store_square,
    store_tail,
    tail,
    tail_backward,
    through,
    tiles_of,
    zero_square,
    zero_vectors,
)

_B, _C, _D = tl.constexpr(64), tl.constexpr(128), tl.constexpr(192)
_FIRST_BIAS, _TAIL = tl.constexpr(64 * 256), tl.constexpr(64 * 256 + 64)


@triton.jit
def terms_forward(
    W, stride, node_rows, X, Z, event_of, from_receiver, from_sender,
    BLOCK: tl.constexpr, OP: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """X: [nodes, 64], Z: [events, 64] -> from_receiver, from_sender: [nodes, 64]."""
    W += tl.program_id(1) * stride
    wa, wb, wd = load_square(W, 256, OP, PREC), load_square(W + _B, 256, OP, PREC), load_square(W + _D, 256, OP, PREC)
    first, end, step = tiles_of(node_rows, BLOCK)
    for tile in range(first, end, step):
        row = tile + tl.arange(0, BLOCK)
        ok = row < end
        event = tl.load(event_of + row, mask=ok, other=0)
        x = load_rows(X, row, ok).to(OP)
        received = through(x, wa, OP, PREC) + through(load_rows(Z, event, ok), wd, OP, PREC)
        store_rows(from_receiver, row, ok, received + load_vector(W + _FIRST_BIAS))
        store_rows(from_sender, row, ok, through(x, wb, OP, PREC))


@triton.jit
def _first_layer(y, c, from_receiver, from_sender, r, s, ok, OP: tl.constexpr, PREC: tl.constexpr):
    """The first layer's values of edges from senders s to receivers r."""
    terms = (load_rows(from_receiver, r, ok) + load_rows(from_sender, s, ok)).to(OP).to(tl.float32)
    return terms + through(y, c, OP, PREC)


@triton.jit
def edges_forward(
    W, stride, edge_rows, Y, from_receiver, from_sender, receiver, sender, updated,
    BLOCK: tl.constexpr, OP: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Y: [edges, 64] -> updated: [edges, 64]."""
    W += tl.program_id(1) * stride
    M = W + _TAIL
    c = load_square(W + _C, 256, OP, PREC)
    w2, w3, w4 = load_tail(M, OP, PREC)
    first, end, step = tiles_of(edge_rows, BLOCK)
    for tile in range(first, end, step):
        row = tile + tl.arange(0, BLOCK)
        ok = row < end
        r, s = tl.load(receiver + row, mask=ok, other=0), tl.load(sender + row, mask=ok, other=0)
        p = _first_layer(load_rows(Y, row, ok), c, from_receiver, from_sender, r, s, ok, OP, PREC)
        store_rows(updated, row, ok, tail(p, w2, w3, w4, M, OP, PREC))


@triton.jit
def edges_backward(
    W, stride, G, slab_width, edge_rows, Y, from_receiver, from_sender, receiver, sender,
    of_sums, of_next, W_next, gradient,
    LAST: tl.constexpr, BLOCK: tl.constexpr, OP: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """The gradient at the first layer [edges, 64], and the parameters' but for A, B, D and the first bias, into G.

    of_sums: [nodes, 64], at the sums of each receiver's edges.  of_next: [edges, 64], at the first layer of the next
    iteration's edges, whose parameters W_next are; the LAST iteration has none.
    """
    network = tl.program_id(1)
    W += network * stride
    W_next += network * stride
    G = slab_of(G, slab_width)
    M = W + _TAIL
    c = load_square(W + _C, 256, OP, PREC)
    w2, w3, w4 = load_tail(M, OP, PREC)
    if not LAST:
        c_next = load_square(W_next + _C, 256, OP, PREC)
    gc, g2, g3, g4 = zero_square(), zero_square(), zero_square(), zero_square()
    vectors = zero_vectors()
    first, end, step = tiles_of(edge_rows, BLOCK)
    for tile in range(first, end, step):
        row = tile + tl.arange(0, BLOCK)
        ok = row < end
        r, s = tl.load(receiver + row, mask=ok, other=0), tl.load(sender + row, mask=ok, other=0)
        y = load_rows(Y, row, ok).to(OP)
        p = _first_layer(y, c, from_receiver, from_sender, r, s, ok, OP, PREC)
        g = load_rows(of_sums, r, ok)
        if not LAST:
            g += back(load_rows(of_next, row, ok), c_next, OP, PREC)
        g, g2, g3, g4, vectors = tail_backward(p, g, ok, w2, w3, w4, g2, g3, g4, vectors, M, OP, PREC)
        gc = add_outer(gc, g, y, OP, PREC)
        store_rows(gradient, row, ok, g)
    store_square(G + _C, 256, gc)
    store_tail(G + _TAIL, g2, g3, g4, vectors, FIRST_BIAS=False)


@triton.jit
def edge_sums(
    Y, node_rows, event_of, node_ptr, first_edge, incoming, outgoing, BOTH: tl.constexpr, BLOCK: tl.constexpr
):
    """Sums of Y [edges, 64] over each node's incoming edges, and with BOTH over its outgoing ones; [nodes, 64] each."""
    first, end, step = tiles_of(node_rows, BLOCK)
    for tile in range(first, end, step):
        row = tile + tl.arange(0, BLOCK)
        ok = row < end
        event = tl.load(event_of + row, mask=ok, other=0)
        first_node = tl.load(node_ptr + event, mask=ok, other=0)
        n = tl.load(node_ptr + event + 1, mask=ok, other=0) - first_node
        n = tl.where(ok, n, 0)
        own = tl.load(first_edge + row, mask=ok, other=0)
        place = row - first_node
        of_event = own - place * (n - 1)
        received = tl.zeros([BLOCK, 64], tl.float32)
        sent = tl.zeros([BLOCK, 64], tl.float32)
        for j0 in range(0, tl.max(n, 0), 4):
            for d in tl.static_range(4):
                j = j0 + d
                received += load_rows(Y, own + j, j < n - 1)
                if BOTH:
                    edge = of_event + j * (n - 1) + place - (place > j).to(tl.int32)
                    sent += load_rows(Y, edge, (j < n) & (j != place))
        store_rows(incoming, row, ok, received)
        if BOTH:
            store_rows(outgoing, row, ok, sent)


@triton.jit
def terms_backward(
    W, stride, G, slab_width, node_rows, X, Z, event_of, of_receiver, of_sender, of_x, of_z,
    BLOCK: tl.constexpr, OP: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """From the gradients at the terms to those of A, B, D and the first bias, into G.

    of_receiver, of_sender: [nodes, 64], the sums of the edges' gradients.  of_x, of_z: [nodes, 64], gradients at the
    nodes and at their event's globals, which get this kernel's share added.
    """
    W += tl.program_id(1) * stride
    G = slab_of(G, slab_width)
    wa, wb, wd = load_square(W, 256, OP, PREC), load_square(W + _B, 256, OP, PREC), load_square(W + _D, 256, OP, PREC)
    ga, gb, gd = zero_square(), zero_square(), zero_square()
    bias = G + _FIRST_BIAS + tl.arange(0, 64)
    tl.store(bias, tl.zeros([64], tl.float32))
    tl.debug_barrier()
    first, end, step = tiles_of(node_rows, BLOCK)
    for tile in range(first, end, step):
        row = tile + tl.arange(0, BLOCK)
        ok = row < end
        event = tl.load(event_of + row, mask=ok, other=0)
        received, sent = load_rows(of_receiver, row, ok), load_rows(of_sender, row, ok).to(OP)
        x, z = load_rows(X, row, ok).to(OP), load_rows(Z, event, ok).to(OP)
        tl.store(bias, tl.load(bias) + tl.sum(received, 0))  # in memory: registers are full
        received = received.to(OP)
        ga = add_outer(ga, received, x, OP, PREC)
        gb = add_outer(gb, sent, x, OP, PREC)
        gd = add_outer(gd, received, z, OP, PREC)
        at_x = back(received, wa, OP, PREC) + back(sent, wb, OP, PREC)
        store_rows(of_x, row, ok, load_rows(of_x, row, ok) + at_x)
        store_rows(of_z, row, ok, load_rows(of_z, row, ok) + back(received, wd, OP, PREC))
    store_square(G, 256, ga)
    store_square(G + _B, 256, gb)
    store_square(G + _D, 256, gd)
