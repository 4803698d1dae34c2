"""From timings to figures and a table. Each figure's definition is in DEFINITIONS, which travels with the figures."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from breakeven.benchmarks.card import Ceilings
from breakeven.benchmarks.engines import Measured

BATCH = 1024
"""The batch size that the single figures are for."""

DEFINITIONS = {
    "native_over_dgl_built": "time of a step in DGL that builds its graphs, over the native time; one thread",
    "native_over_dgl_cached": "time of a step in DGL with graphs made before, over the native time; one thread",
    "native_over_pyg": "time of a step in PyTorch Geometric with graphs made before, over the native time; one thread",
    "two_threads_over_one": "wall time of the native step on one thread over two, the least disturbed round of each",
    "two_threads_over_one_if_idle": "CPU time of the native step on one thread, over that of the busier of two threads: "
    "at most this on an idle machine, whoever else was at work here",
    "loading_share": "time to gather a batch, over the native step's; one thread",
    "events_per_second": "events per second of the native step; one thread",
    "gflop_per_second": "two for each multiply-add of the split form, forward and twice that backward, per second; one thread",
    "fraction_of_matmul_peak": "gflop_per_second over the best of torch's float32 [4096, 64] x [64, 64] in the same run; "
    "it could exceed 1, as the kernel multiplies matrices itself",
    "fraction_of_wide_matmul_peak": "gflop_per_second over torch's float32 [1024, 1024] x [1024, 1024] in the same run",
}
"""Of the figures, at batch size BATCH. Time on one thread is median CPU time, on a GPU median wall time."""


def engine_figures(
    measured: Sequence[Measured], gather_seconds: float, peaks: Ceilings, device: str
) -> dict[str, float]:
    """The figures of DEFINITIONS that these timings give.

    A figure whose engine or thread count was not timed is left out.
    """
    here = {(m.case.engine, m.case.threads): m for m in measured if m.case.batch == BATCH}
    native = here["native", 1]
    seconds = {engine: step_seconds(m, device) for (engine, threads), m in here.items() if threads == 1}
    figures = {f"native_over_{engine}": seconds[engine] / seconds["native"] for engine in seconds if engine != "native"}
    rate = native.flop / seconds["native"]
    return {
        **figures,
        "loading_share": gather_seconds / seconds["native"],
        "events_per_second": BATCH / seconds["native"],
        "gflop_per_second": rate / 1e9,
        "fraction_of_matmul_peak": rate / peaks.narrow["float32"],
        "fraction_of_wide_matmul_peak": rate / peaks.wide["float32"],
    }


def thread_figures(measured: Sequence[Measured]) -> dict[str, float]:
    """The figures of threads, from the native step at batch size BATCH on one and two threads."""
    timings = {m.case.threads: m.timing for m in measured if (m.case.engine, m.case.batch) == ("native", BATCH)}
    return {
        "two_threads_over_one": timings[1].best_wall / timings[2].best_wall,
        "two_threads_over_one_if_idle": timings[1].median_cpu / timings[2].median_busiest,
    }


def step_seconds(measured: Measured, device: str) -> float:
    """The time that counts: CPU time of one thread on CPU, the least disturbed wall time of several, wall on a GPU."""
    if device != "cpu":
        return measured.timing.median_wall
    return measured.timing.median_cpu if measured.case.threads == 1 else measured.timing.best_wall


def engine_table(measured: Sequence[Measured], device: str) -> Table:
    """One row for each case, and how many times as fast the native engine is at the same batch and threads."""
    table = Table("engine", title="one training step: batch, forward, backward, Adam", title_justify="left")
    for heading in ("batch", "threads", "CPU ms", "wall ms", "events/s", "native is faster by"):
        table.add_column(heading, justify="right")
    native = {(m.case.batch, m.case.threads): step_seconds(m, device) for m in measured if m.case.engine == "native"}
    for m in measured:
        seconds, fastest = step_seconds(m, device), native[m.case.batch, m.case.threads]
        table.add_row(
            m.case.engine, f"{m.case.batch:,}", str(m.case.threads), f"{1e3 * m.timing.median_cpu:,.1f}",
            f"{1e3 * m.timing.best_wall:,.1f}", f"{m.case.batch / seconds:,.0f}", f"{seconds / fastest:.2f}",
        )  # fmt: skip
    return table


def rows(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """All timings as plain values, for JSON."""
    return [
        {**vars(m.case), "flop": m.flop, "wall_seconds": list(m.timing.wall), "cpu_seconds": list(m.timing.cpu)}
        for m in measured
    ]
