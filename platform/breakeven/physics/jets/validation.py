"""One page of pictures that shows at a glance whether generated jets look like collider data.

Reads events of jets only. Never generates events and never evaluates them: the tests do.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from breakeven.physics.jets.processes import CATALOGUE, QCD_SLICES
from breakeven.physics.jets.sample import JetSample


def plot_jets(samples: Mapping[str, JetSample], path: Path) -> None:
    """Write a page (format by the ending of `path`): groomed masses, constituents, impact parameters, and the slices of QCD.

    samples: by process name. Raises ValueError when there are none.
    """
    if not samples:
        raise ValueError("plot_jets: no samples given")
    figure = Figure(figsize=(14, 9), layout="constrained")
    axes = figure.subplots(2, 2)
    for axis in axes.flat:
        axis.set_prop_cycle(color=colormaps["tab20"](range(20)))
    for name, sample in samples.items():
        title = CATALOGUE[name].title
        _fraction(axes[0, 0], sample.soft_drop_mass, np.arange(0, 255, 5), title)
        _fraction(axes[0, 1], sample.constituents, np.arange(-0.5, 103, 4), title)
    axes[0, 0].set_xlabel("soft-drop mass (GeV)")
    axes[0, 1].set_xlabel("constituents per jet")
    for of_bb, title in ((True, "of bb jets"), (False, "of all others")):
        tracks = np.concatenate([one.d0_significance[one.track_bb == of_bb] for one in samples.values()])
        _fraction(axes[1, 0], tracks, np.linspace(-20, 20, 81), title)
    axes[1, 0].set(xlabel="d0 / its error, of tracks", yscale="log")
    _slices(axes[1, 1], samples)
    for axis in axes.flat:
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=6, ncols=2)
    figure.savefig(path)


def _fraction(axis: Axes, values: NDArray[Any], edges: NDArray[Any], title: str) -> None:
    counts, _ = np.histogram(values, edges)
    axis.stairs(counts / max(len(values), 1), edges, label=title)
    axis.set_ylabel("fraction")


def _slices(axis: Axes, samples: Mapping[str, JetSample]) -> None:
    """Cross section of jets by pT, slice upon slice: they must join to one falling spectrum."""
    edges = np.linspace(200, 1600, 57)
    below = np.zeros(len(edges) - 1)
    for one in QCD_SLICES:
        if (sample := samples.get(one.name)) is not None:
            counts, _ = np.histogram(sample.pt, edges, weights=sample.weight)
            spectrum = below + counts / np.diff(edges)
            axis.stairs(spectrum, edges, baseline=below, fill=True, label=one.title)
            below = spectrum
    axis.set(xlabel="jet pT (GeV)", ylabel="cross section (pb / GeV)", yscale="log")
