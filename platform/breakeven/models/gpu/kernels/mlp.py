"""What all kernels share: the rows of a program, and an MLP's layers 2 to 4 with LayerNorm, forward and backward.

Device functions alone, inlined into the kernels of the other files. A kernel runs on a grid (S, K): program (s, k)
takes the tiles s, s + S, ... of the rows of network k, keeps what it learns of the weights in its registers, and writes it
to a slab of its own at the end: no atomics, so the same bits every time. OP is the type of a product's operands, PREC
their precision (tl.dot's input_precision); sums are float32.

An MLP's parameters lie in memory as named_parameters has them: first.weight [64, inputs], first.bias [64], then what is
called its tail here, at these offsets.
"""

import triton
import triton.language as tl

SECOND, THIRD, FOURTH = tl.constexpr(0), tl.constexpr(4160), tl.constexpr(8320)
"""Where the tail's weights [64, 64] begin; each has its bias [64] behind it, at + BIAS."""
BIAS = tl.constexpr(4096)
GAIN, SHIFT = tl.constexpr(12480), tl.constexpr(12544)
"""LayerNorm's weight and bias."""
EPSILON = tl.constexpr(1e-5)
"""LayerNorm's, torch's default."""


@triton.jit
def tiles_of(rows, BLOCK: tl.constexpr):
    """First row, end and step of this program's tiles; rows: [K, 2] int32, first row and end of each network."""
    network = tl.program_id(1)
    first, end = tl.load(rows + 2 * network), tl.load(rows + 2 * network + 1)
    return first + tl.program_id(0) * BLOCK, end, tl.num_programs(0) * BLOCK


@triton.jit
def slab_of(slabs, slab_width):
    """Where this program writes its gradients; slabs: [S, K, slab_width] float32."""
    return slabs + (tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)).to(tl.int64) * slab_width


@triton.jit
def operand(x, OP: tl.constexpr, PREC: tl.constexpr):
    """x as a product's operand: rounded to nearest, where the card would cut off all but the first digits of a tf32."""
    if OP == tl.float32 and PREC == "tf32":  # noqa: SIM300  (neither is a constant here)
        instruction: tl.constexpr = "cvt.rna.tf32.f32 $0, $1;"
        bits = tl.inline_asm_elementwise(instruction, "=r,r", [x], dtype=tl.int32, is_pure=True, pack=1)
        return bits.to(tl.float32, bitcast=True)
    else:
        return x.to(OP)


@triton.jit
def load_square(W, stride, OP: tl.constexpr, PREC: tl.constexpr):
    """A weight [64 outputs, 64 inputs] as it lies in memory, as an operand."""
    return operand(tl.load(W + tl.arange(0, 64)[:, None] * stride + tl.arange(0, 64)[None, :]), OP, PREC)


@triton.jit
def load_vector(W):
    """A vector [1, 64]."""
    return tl.load(W + tl.arange(0, 64))[None, :]


@triton.jit
def load_rows(X, row, ok):
    """The rows `row` of X [*, 64] as float32; zeros where not `ok`."""
    return tl.load(X + row[:, None] * 64 + tl.arange(0, 64)[None, :], mask=ok[:, None], other=0.0).to(tl.float32)


@triton.jit
def store_rows(X, row, ok, value):
    """Set the rows `row` of X [*, 64] where `ok`."""
    tl.store(X + row[:, None] * 64 + tl.arange(0, 64)[None, :], value.to(X.dtype.element_ty), mask=ok[:, None])


@triton.jit
def store_square(G, stride, value):
    """Write a weight's gradient [64, 64]."""
    tl.store(G + tl.arange(0, 64)[:, None] * stride + tl.arange(0, 64)[None, :], value)


@triton.jit
def through(rows, weight, OP: tl.constexpr, PREC: tl.constexpr):
    """rows [n, inputs] through a layer's weight [outputs, inputs]."""
    return tl.dot(operand(rows, OP, PREC), tl.trans(weight), input_precision=PREC)


@triton.jit
def back(gradient, weight, OP: tl.constexpr, PREC: tl.constexpr):
    """The gradient at a layer's inputs [n, inputs], from that at its outputs."""
    return tl.dot(gradient.to(OP), weight, input_precision=PREC)


@triton.jit
def add_outer(total, gradient, rows, OP: tl.constexpr, PREC: tl.constexpr):
    """A weight's gradient [outputs, inputs]: total + gradient^T rows."""
    return tl.dot(tl.trans(gradient.to(OP)), rows.to(OP), total, input_precision=PREC)


@triton.jit
def add_sums(total, vector: tl.constexpr, values, ok, OP: tl.constexpr, PREC: tl.constexpr):
    """Add the sums of values [n, 64] over n to one row of total [16, 64]; rows that are not `ok` hold zeros.

    Few registers a thread for up to 16 vectors. In bfloat16 as a product with ones: a sum over a tile crosses all warps,
    and as a product it needs no shuffles and half the barriers. In float32 shared memory has no room for the operands.
    """
    if OP == tl.bfloat16:  # noqa: SIM300  (OP is no constant here)
        return add_product_with_ones(total, vector, values, ok, OP, PREC)
    else:
        return total + tl.where(tl.arange(0, 16)[:, None] == vector, tl.sum(values, 0)[None, :], 0.0)


@triton.jit
def add_product_with_ones(total, vector: tl.constexpr, values, ok, OP: tl.constexpr, PREC: tl.constexpr):
    """As add_sums, of values rounded to OP."""
    ones = ((tl.arange(0, 16)[:, None] == vector) & ok[None, :]).to(OP)
    return tl.dot(ones, values.to(OP), total, input_precision=PREC)


@triton.jit
def relu(p):
    """max(p, 0) that lets a NaN through, which tl.maximum would hide."""
    return tl.where(p < 0.0, 0.0, p)


@triton.jit
def normalise(p):
    """LayerNorm without gain and shift, and the inverse deviation of each row [n, 1]."""
    centred = p - (tl.sum(p, 1) * (1.0 / 64))[:, None]
    inverse = tl.rsqrt(tl.sum(centred * centred, 1) * (1.0 / 64) + EPSILON)[:, None]
    return centred * inverse, inverse


@triton.jit
def load_tail(M, OP: tl.constexpr, PREC: tl.constexpr):
    """The weights of layers 2 to 4; M: where the tail begins."""
    return load_square(M, 64, OP, PREC), load_square(M + THIRD, 64, OP, PREC), load_square(M + FOURTH, 64, OP, PREC)


@triton.jit
def tail(p, w2, w3, w4, M, OP: tl.constexpr, PREC: tl.constexpr):
    """From the first layer's values p [n, 64] to the MLP's output; w: load_tail(M)."""
    p = through(relu(p), w2, OP, PREC) + load_vector(M + BIAS)
    p = through(relu(p), w3, OP, PREC) + load_vector(M + THIRD + BIAS)
    p = through(relu(p), w4, OP, PREC) + load_vector(M + FOURTH + BIAS)
    normal, _ = normalise(p)
    return normal * load_vector(M + GAIN) + load_vector(M + SHIFT)


@triton.jit
def tail_backward(p, gradient, ok, w2, w3, w4, g2, g3, g4, vectors, M, OP: tl.constexpr, PREC: tl.constexpr):
    """From the gradient at the MLP's output to that at the first layer's values p [n, 64].

    The hidden layers are computed again, which costs less than reading them. g: running gradients of w [64, 64].
    vectors: running gradients of the biases, gain and shift [16, 64], see store_tail.
    Returns the gradient and all that runs on.
    """
    h1 = relu(p).to(OP)
    h2 = relu(through(h1, w2, OP, PREC) + load_vector(M + BIAS)).to(OP)
    h3 = relu(through(h2, w3, OP, PREC) + load_vector(M + THIRD + BIAS)).to(OP)
    normal, inverse = normalise(through(h3, w4, OP, PREC) + load_vector(M + FOURTH + BIAS))
    vectors = add_sums(vectors, 4, gradient * normal, ok, OP, PREC)
    vectors = add_sums(vectors, 5, gradient, ok, OP, PREC)
    g = gradient * load_vector(M + GAIN)
    along = (tl.sum(g * normal, 1) * (1.0 / 64))[:, None]
    g = inverse * (g - (tl.sum(g, 1) * (1.0 / 64))[:, None] - normal * along)
    vectors = add_sums(vectors, 3, g, ok, OP, PREC)
    g4 = add_outer(g4, g, h3, OP, PREC)
    g = tl.where(h3 > 0, back(g, w4, OP, PREC), 0.0)
    vectors = add_sums(vectors, 2, g, ok, OP, PREC)
    g3 = add_outer(g3, g, h2, OP, PREC)
    g = tl.where(h2 > 0, back(g, w3, OP, PREC), 0.0)
    vectors = add_sums(vectors, 1, g, ok, OP, PREC)
    g2 = add_outer(g2, g, h1, OP, PREC)
    g = tl.where(h1 > 0, back(g, w2, OP, PREC), 0.0)
    return g, g2, g3, g4, vectors


@triton.jit
def store_tail(D, g2, g3, g4, vectors, FIRST_BIAS: tl.constexpr):
    """Write a tail's gradients; D: where the tail begins in the program's slab.

    Rows of vectors: 0 the first layer's bias (written with FIRST_BIAS), 1 to 3 the others', 4 gain, 5 shift.
    """
    store_square(D, 64, g2)
    store_square(D + THIRD, 64, g3)
    store_square(D + FOURTH, 64, g4)
    vector = tl.arange(0, 16)[:, None]
    at = tl.where(vector == 0, -64, tl.where(vector == 4, GAIN, tl.where(vector == 5, SHIFT, BIAS)))
    at += tl.where(vector == 2, THIRD, tl.where(vector == 3, FOURTH, 0))
    written = (vector >= (0 if FIRST_BIAS else 1)) & (vector < 6) & (tl.arange(0, 64)[None, :] >= 0)
    tl.store(D + at + tl.arange(0, 64)[None, :], vectors, mask=written)


@triton.jit
def zero_square():
    """Where a weight's gradient begins."""
    return tl.zeros([64, 64], tl.float32)


@triton.jit
def zero_vectors():
    """Where the gradients of vectors begin, see add_sums."""
    return tl.zeros([16, 64], tl.float32)


@triton.jit
def sums_of_events(X, node_ptr, event, ok, BLOCK: tl.constexpr):
    """Sums of X [nodes, 64] over the nodes of each event [BLOCK, 64], four loads on their way at once."""
    first = tl.load(node_ptr + event, mask=ok, other=0)
    n = tl.load(node_ptr + event + 1, mask=ok, other=0) - first
    total = tl.zeros([BLOCK, 64], tl.float32)
    for j0 in range(0, tl.max(n, 0), 4):
        for d in tl.static_range(4):
            total += load_rows(X, first + j0 + d, j0 + d < n)
    return total
