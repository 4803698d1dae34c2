"""Kernels of the last layer: outputs, and loss with its gradient, in float32 throughout.

Losses as in training/objectives.py, divided by `divisor`.
"""

import triton
import triton.language as tl

from breakeven.models.gpu.kernels.mlp import load_rows, slab_of, store_rows, tiles_of

BINARY, MULTICLASS, MULTILABEL = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)


@triton.jit
def _softplus(z):
    """log(1 + exp(z))."""
    return tl.where(z < 0.0, 0.0, z) + tl.log(1.0 + tl.exp(-tl.abs(z)))


@triton.jit
def _sigmoid(z):
    return 1.0 / (1.0 + tl.exp(-z))


@triton.jit
def _load_head(W, N: tl.constexpr, PAD: tl.constexpr):
    """The layer's weight [PAD, 64] and bias [PAD], zeros from N on; the bias lies behind the weight."""
    output = tl.arange(0, PAD)
    weight = tl.load(W + output[:, None] * 64 + tl.arange(0, 64)[None, :], mask=output[:, None] < N, other=0.0)
    return weight, tl.load(W + 64 * N + output, mask=output < N, other=0.0)


@triton.jit
def head_forward(W, stride, event_rows, X, outputs, N: tl.constexpr, PAD: tl.constexpr, BLOCK: tl.constexpr):
    """X: [events, 64] -> outputs: [events, N]."""
    W += tl.program_id(1) * stride
    weight, bias = _load_head(W, N, PAD)
    output = tl.arange(0, PAD)[None, :]
    first, end, step = tiles_of(event_rows, BLOCK)
    for tile in range(first, end, step):
        row = tile + tl.arange(0, BLOCK)
        ok = row < end
        z = tl.dot(load_rows(X, row, ok), tl.trans(weight), input_precision="ieee") + bias[None, :]
        tl.store(outputs + row[:, None] * N + output, z, mask=ok[:, None] & (output < N))


@triton.jit
def head_backward(
    W, stride, G, slab_width, event_rows, X, target, divisor, lost, of_x, loss,
    OBJECTIVE: tl.constexpr, N: tl.constexpr, N_REGRESSION: tl.constexpr, PAD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The layer's outputs, the loss and its gradients.

    X: [events, 64], the decoder's output; of_x: the gradient there.  divisor: [K] int32, of the loss; 0 for none.
    target: class numbers [events] int64, zeros and ones [events] or labels [events, N] float32, of which the first
    N_REGRESSION are regressions.  loss: [S, K], each program's share; NaN where `lost` [K] says that events are missing.
    """
    network = tl.program_id(1)
    W += network * stride
    G = slab_of(G, slab_width)
    weight, bias = _load_head(W, N, PAD)
    output = tl.arange(0, PAD)[None, :]
    n_events = tl.load(divisor + network)
    share = tl.where(n_events > 0, 1.0 / tl.where(n_events > 0, n_events, 1).to(tl.float32), 0.0)
    g_weight = tl.zeros([PAD, 64], tl.float32)
    g_bias = tl.zeros([PAD], tl.float32)
    total = tl.where(tl.load(lost + network) > 0, float("nan"), 0.0)
    first, end, step = tiles_of(event_rows, BLOCK)
    for tile in range(first, end, step):
        row = tile + tl.arange(0, BLOCK)
        ok = row < end
        x = load_rows(X, row, ok)
        z = tl.dot(x, tl.trans(weight), input_precision="ieee") + bias[None, :]
        if OBJECTIVE == MULTICLASS:
            t = (output == tl.load(target + row, mask=ok, other=0)[:, None]).to(tl.float32)
            z = tl.where(output < N, z, -float("inf"))
            z = z - tl.max(z, 1)[:, None]
            sums = tl.sum(tl.exp(z), 1)
            each = tl.log(sums) - tl.sum(tl.where(t > 0.0, z, 0.0), 1)
            g = tl.exp(z) / sums[:, None] - t
        else:
            if OBJECTIVE == BINARY:
                t = tl.load(target + row, mask=ok, other=0.0)[:, None]
            else:
                t = tl.load(target + row[:, None] * N + output, mask=ok[:, None] & (output < N), other=0.0)
            entropy, g = _softplus(z) - z * t, _sigmoid(z) - t
            if OBJECTIVE == MULTILABEL:
                regression = output < N_REGRESSION
                entropy = tl.where(regression, (z - t) * (z - t), entropy) * (1.0 / N)
                g = tl.where(regression, 2.0 * (z - t), g) * (1.0 / N)
            each = tl.sum(tl.where(output < N, entropy, 0.0), 1)
        g = tl.where(ok[:, None] & (output < N), g, 0.0) * share
        total += tl.sum(tl.where(ok, each, 0.0), 0) * share
        store_rows(of_x, row, ok, tl.dot(g, weight, input_precision="ieee"))
        g_weight += tl.dot(tl.trans(g), x, input_precision="ieee")
        g_bias += tl.sum(g, 0)
    column = tl.arange(0, PAD)
    tl.store(G + column[:, None] * 64 + tl.arange(0, 64)[None, :], g_weight, mask=column[:, None] < N)
    tl.store(G + 64 * N + column, g_bias, mask=column < N)
    tl.store(loss + tl.program_id(0) * tl.num_programs(1) + network, total)
