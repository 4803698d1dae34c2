"""Kernels that end a step: the programs' gradients summed in a fixed order, and Adam. Grid (columns, K)."""

import triton
import triton.language as tl

_SLABS_AT_ONCE = tl.constexpr(16)
_LOG_BETA_1, _LOG_BETA_2 = tl.constexpr(-0.10536051565782628), tl.constexpr(-0.0010005003335835344)
"""log 0.9 and log 0.999."""


@triton.jit(do_not_specialize=["n_networks", "repeats", "shared_begin", "shared_width"])
def sum_slabs(
    slabs,
    slab_width,
    programs,
    n_networks,
    gradient,
    width,
    shared_begin,
    shared_width,
    repeats,
    BLOCK: tl.constexpr,
):
    """gradient [K, width] from slabs [S, K, slab_width].

    programs: [width] int32, how many programs wrote each column.
    Where one block serves all iterations, each iteration has its own columns in the slabs: those from shared_begin on,
    shared_width of them, are there `repeats` times, and all further ones lie behind.
    """
    network = tl.program_id(1)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ok = column < width
    n = tl.load(programs + column, mask=ok, other=0)
    behind = column >= shared_begin + shared_width
    shared = (column >= shared_begin) & (column < shared_begin + shared_width)
    place = column + tl.where(behind, (repeats - 1) * shared_width, 0)
    total = tl.zeros([BLOCK], tl.float32)
    for repeat in range(0, repeats):
        n_here = tl.where(shared | (repeat == 0), n, 0)
        for s in range(0, tl.max(n_here, 0), _SLABS_AT_ONCE):
            slab = (s + tl.arange(0, _SLABS_AT_ONCE))[:, None]
            at = (slab * n_networks + network).to(tl.int64) * slab_width + (place + repeat * shared_width)[None, :]
            total += tl.sum(tl.load(slabs + at, mask=slab < n_here[None, :], other=0.0), 0)
    tl.store(gradient + network.to(tl.int64) * width + column, total, mask=ok)


@triton.jit(do_not_specialize=["n_backbone"])
def adam(weights, gradient, first, second, rates, divisor, steps, width, n_backbone, BLOCK: tl.constexpr):
    """A step of torch.optim.Adam with its default betas and epsilon.

    weights, gradient, first, second: [K, width].  rates: [K, 2], the head's and the backbone's; the backbone has the
    columns before n_backbone.  steps: [K] float64, those taken before.  divisor: [K] int32; a network whose divisor is 0
    stays as it is.
    """
    network = tl.program_id(1)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ok = (column < width) & (tl.load(divisor + network) > 0)
    at = network.to(tl.int64) * width + column
    g = tl.load(gradient + at, mask=ok, other=0.0)
    m = tl.load(first + at, mask=ok, other=0.0) * 0.9 + 0.1 * g
    v = tl.load(second + at, mask=ok, other=0.0) * 0.999 + 0.001 * g * g
    tl.store(first + at, m, mask=ok)
    tl.store(second + at, v, mask=ok)
    step = tl.load(steps + network) + 1.0
    bias_1 = (1.0 - tl.exp(step * _LOG_BETA_1)).to(tl.float32)
    bias_2 = (1.0 - tl.exp(step * _LOG_BETA_2)).to(tl.float32)
    rate = tl.load(rates + 2 * network + (column < n_backbone).to(tl.int32), mask=ok, other=0.0)
    size = rate / bias_1
    root = tl.sqrt(v) / tl.sqrt(bias_2) + 1e-8
    tl.store(weights + at, tl.load(weights + at, mask=ok, other=0.0) - size * m / root, mask=ok)
