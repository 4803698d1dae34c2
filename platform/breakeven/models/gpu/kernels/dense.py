"""Kernels of the MLPs on whole rows: a block's nodes and globals, and the decoder, forward and backward.

KIND tells which. NODES: the inputs of row i are X and S of that node and Z of its event. GLOBALS: the sums over the event
of X and S, and Z. DECODER: Z alone. S are the sums of each node's incoming edges.
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
    slab_of,
    store_rows,
    store_square,
    store_tail,
    sums_of_events,
    tail,
    tail_backward,
    through,
    tiles_of,
    zero_square,
    zero_vectors,
)

DECODER, NODES, GLOBALS = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)


@triton.jit
def dense_forward(
    W, stride, rows, X, S, Z, event_of, node_ptr, sum_x, sum_s, first_layer, output,
    KIND: tl.constexpr, N_IN: tl.constexpr, BLOCK: tl.constexpr, OP: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Inputs -> output [n, 64]; what the backward pass needs goes to first_layer [n, 64], and of globals to sum_x, sum_s.

    N_IN: inputs of the first layer, 64 for the decoder, else 192.
    """
    W += tl.program_id(1) * stride
    M = W + 64 * N_IN + 64
    w2, w3, w4 = load_tail(M, OP, PREC)
    if KIND == DECODER:
        wz = load_square(W, N_IN, OP, PREC)
    else:
        wx, ws, wz = (
            load_square(W, N_IN, OP, PREC),
            load_square(W + 64, N_IN, OP, PREC),
            load_square(W + 128, N_IN, OP, PREC),
        )
    first, end, step = tiles_of(rows, BLOCK)
    for tile in range(first, end, step):
        row = tile + tl.arange(0, BLOCK)
        ok = row < end
        if KIND == NODES:
            event = tl.load(event_of + row, mask=ok, other=0)
            p = through(load_rows(Z, event, ok), wz, OP, PREC)
            p += through(load_rows(X, row, ok), wx, OP, PREC) + through(load_rows(S, row, ok), ws, OP, PREC)
        else:
            p = through(load_rows(Z, row, ok), wz, OP, PREC)
        if KIND == GLOBALS:
            first_node = tl.load(node_ptr + row, mask=ok, other=0)
            n = tl.load(node_ptr + row + 1, mask=ok, other=0) - first_node
            x, s = tl.zeros([BLOCK, 64], tl.float32), tl.zeros([BLOCK, 64], tl.float32)
            for j0 in range(0, tl.max(n, 0), 4):  # both sums at once: eight loads on their way
                for d in tl.static_range(4):
                    x += load_rows(X, first_node + j0 + d, j0 + d < n)
                    s += load_rows(S, first_node + j0 + d, j0 + d < n)
            store_rows(sum_x, row, ok, x)
            store_rows(sum_s, row, ok, s)
            p += through(x, wx, OP, PREC) + through(s, ws, OP, PREC)
        p += load_vector(W + 64 * N_IN)
        store_rows(first_layer, row, ok, p)
        store_rows(output, row, ok, tail(p, w2, w3, w4, M, OP, PREC))


@triton.jit
def dense_backward(
    W, stride, G, slab_width, rows, X, S, Z, event_of, node_ptr, first_layer,
    gradient, of_event_x, of_event_s, of_x, of_s, of_z,
    KIND: tl.constexpr, LAST: tl.constexpr, N_IN: tl.constexpr, BLOCK: tl.constexpr, OP: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """From the output's gradient to the parameters', into G, and to the inputs'.

    gradient: at the output, [n, 64]. LAST is the last iteration, whose nodes have none of their own.
    NODES: of_event_x and of_event_s [events, 64] come from the globals; of_x, of_s and of_z [nodes, 64] are written, of_z
    by node. GLOBALS: unless LAST, the sums over the event of of_z by node, given as of_event_x [nodes, 64], belong to
    the gradient; of_x, of_s and of_z [events, 64] are written. DECODER: of_z is written.
    Two passes over the program's tiles, layers 4 to 2 and then the first: registers have no room for six weights'
    gradients. In between the gradient at the first layer lies in first_layer.
    """
    W += tl.program_id(1) * stride
    G = slab_of(G, slab_width)
    M = W + 64 * N_IN + 64
    first, end, step = tiles_of(rows, BLOCK)
    w2, w3, w4 = load_tail(M, OP, PREC)
    g2, g3, g4 = zero_square(), zero_square(), zero_square()
    vectors = zero_vectors()
    for tile in range(first, end, step):
        row = tile + tl.arange(0, BLOCK)
        ok = row < end
        if KIND == NODES:
            event = tl.load(event_of + row, mask=ok, other=0)
            g = load_rows(of_event_x, event, ok)
            if not LAST:
                g += load_rows(gradient, row, ok)
        else:
            g = load_rows(gradient, row, ok)
        if KIND == GLOBALS and not LAST:
            g += sums_of_events(of_event_x, node_ptr, row, ok, BLOCK)
        p = load_rows(first_layer, row, ok)
        g, g2, g3, g4, vectors = tail_backward(p, g, ok, w2, w3, w4, g2, g3, g4, vectors, M, OP, PREC)
        vectors = add_sums(vectors, 0, g, ok, OP, PREC)
        store_rows(first_layer, row, ok, g)
    store_tail(G + 64 * N_IN + 64, g2, g3, g4, vectors, FIRST_BIAS=True)
    tl.debug_barrier()  # what one thread of this program wrote to first_layer another may read
    if KIND == DECODER:
        wz = load_square(W, N_IN, OP, PREC)
    else:
        wx, ws, wz = (
            load_square(W, N_IN, OP, PREC),
            load_square(W + 64, N_IN, OP, PREC),
            load_square(W + 128, N_IN, OP, PREC),
        )
    gx, gs, gz = zero_square(), zero_square(), zero_square()
    for tile in range(first, end, step):
        row = tile + tl.arange(0, BLOCK)
        ok = row < end
        g = load_rows(first_layer, row, ok).to(OP)
        if KIND == NODES:
            event = tl.load(event_of + row, mask=ok, other=0)
            gz = add_outer(gz, g, load_rows(Z, event, ok), OP, PREC)
        else:
            gz = add_outer(gz, g, load_rows(Z, row, ok), OP, PREC)
        if KIND != DECODER:
            gx = add_outer(gx, g, load_rows(X, row, ok), OP, PREC)
            gs = add_outer(gs, g, load_rows(S, row, ok), OP, PREC)
            store_rows(of_x, row, ok, back(g, wx, OP, PREC))
            at_s = back(g, ws, OP, PREC)
            if KIND == NODES:
                at_s += load_rows(of_event_s, event, ok)
            store_rows(of_s, row, ok, at_s)
        store_rows(of_z, row, ok, back(g, wz, OP, PREC))
    if KIND == DECODER:
        store_square(G, N_IN, gz)
    else:
        store_square(G, N_IN, gx)
        store_square(G + 64, N_IN, gs)
        store_square(G + 128, N_IN, gz)
