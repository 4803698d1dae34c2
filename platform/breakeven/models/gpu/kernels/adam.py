"""Kernels that end a step: the programs' gradients summed in a fixed order, and Adam. Grid (columns, K)."""

import triton
import triton.language as tl

_SLABS_AT_ONCE = tl.constexpr(16)
_LOG_BETA_1, _LOG_BETA_2 = tl.constexpr(-0.10536051565782628), tl.constexpr(-0.0010005003335835344)
"""log 0.9 and log 0.999."""


@triton.jit
def _sum_columns(slabs, slab_width, n_networks, column, n, BLOCK: tl.constexpr):
    """Sums [BLOCK] of the first n [BLOCK] slabs of this network at `column`; sixteen loads on their way at once."""
    network = tl.program_id(1)
    total = tl.zeros([BLOCK], tl.float32)
    for s in range(0, tl.max(n, 0), _SLABS_AT_ONCE):
        slab = (s + tl.arange(0, _SLABS_AT_ONCE))[:, None]
        at = (slab * n_networks + network).to(tl.int64) * slab_width + column[None, :]
        total += tl.sum(tl.load(slabs + at, mask=slab < n[None, :], other=0.0), 0)
    return total


@triton.jit(do_not_specialize=["n_networks"])
def sum_slabs(
    slabs, slab_width, programs, n_networks, gradient, width, shared_begin, shared_width,
    REPEATS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """gradient [K, width] from slabs [S, K, slab_width].

    programs: [width] int32, how many programs wrote each column.
    REPEATS > 1: one block serves all iterations, and each has columns of its own in the slabs: the shared_width columns
    from shared_begin on are there so many times, and all further ones lie behind.
    """
    network = tl.program_id(1)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ok = column < width
    n = tl.load(programs + column, mask=ok, other=0)
    if REPEATS == 1:  # as it is, so that the loads stay wide
        total = _sum_columns(slabs, slab_width, n_networks, column, n, BLOCK)
    else:
        behind = column >= shared_begin + shared_width
        shared = (column >= shared_begin) & (column < shared_begin + shared_width)
        place = column + tl.where(behind, (REPEATS - 1) * shared_width, 0)
        total = _sum_columns(slabs, slab_width, n_networks, place, n, BLOCK)
        for repeat in range(1, REPEATS):
            again = tl.where(shared, n, 0)
            total += _sum_columns(slabs, slab_width, n_networks, column + repeat * shared_width, again, BLOCK)
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
