"""One page of pictures that shows at a glance whether generated events look like collider data.

Reads reconstructed objects only. Never generates events and never evaluates them: the tests do.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from breakeven.physics.detector import ObjectKind, Objects
from breakeven.physics.particles import event_of
from breakeven.physics.processes import CATALOGUE

COUNTED = (
    ("jets", ObjectKind.JET),
    ("electrons", ObjectKind.ELECTRON),
    ("muons", ObjectKind.MUON),
    ("photons", ObjectKind.PHOTON),
)


def count_per_event(objects: Objects, kind: ObjectKind, *, b_tagged: bool = False) -> NDArray[np.int64]:
    """How many objects of a kind (with b_tagged: only b-tagged ones) each event has [n_events]."""
    chosen = (objects.kind == kind) & ((objects.b_tag == 1) | (not b_tagged))
    return np.bincount(event_of(objects.counts)[chosen], minlength=len(objects.counts))


SPECTRA: tuple[tuple[str, bool, NDArray[np.float64], Callable[[Objects], NDArray[Any]]], ...] = (
    ("missing momentum (GeV)", True, np.linspace(0, 300, 31), lambda one: one.pt[one.kind == ObjectKind.MET]),
    ("jet pT (GeV)", True, np.linspace(25, 425, 33), lambda one: one.pt[one.kind == ObjectKind.JET]),
    ("jet eta", False, np.linspace(-2.5, 2.5, 26), lambda one: one.eta[one.kind == ObjectKind.JET]),
    ("jets per event", False, np.arange(-0.5, 16), lambda one: count_per_event(one, ObjectKind.JET)),
    (
        "b-tagged jets per event",
        False,
        np.arange(-0.5, 7),
        partial(count_per_event, kind=ObjectKind.JET, b_tagged=True),
    ),
)
"""Label, whether its axis is logarithmic, bin edges, and what is drawn."""


def plot_processes(samples: Mapping[str, Objects], path: Path) -> None:
    """Write a page (format by the ending of `path`) with missing momentum, jet pT, multiplicities and b-tags.

    samples: objects by process name. Raises ValueError when there are none.
    """
    if not samples:
        raise ValueError("plot_processes: no samples given")
    figure = Figure(figsize=(14, 9), layout="constrained")
    axes = figure.subplots(2, 3)
    for axis in axes.flat[:5]:  # as many colours as processes: the default cycle has ten
        axis.set_prop_cycle(color=colormaps["tab20"](range(20)))
    for axis, (label, log, edges, quantity) in zip(axes.flat[:5], SPECTRA, strict=True):
        for name, objects in samples.items():
            values = quantity(objects)
            counts, _ = np.histogram(values, edges)
            title = CATALOGUE[name].title if name in CATALOGUE else name
            axis.stairs(counts / max(len(values), 1), edges, label=title)
        axis.set_xlabel(label)
        axis.set_ylabel("fraction")
        if log:
            axis.set_yscale("log")
    axes[0, 0].legend(fontsize=6, ncols=2)
    _means(axes[1, 2], samples)
    figure.savefig(path)


def _means(axis: Axes, samples: Mapping[str, Objects]) -> None:
    names = list(samples)
    for label, kind in COUNTED:
        means = [count_per_event(samples[name], kind).mean() for name in names]
        axis.plot(means, range(len(names)), "o", label=label)
    tagged = [count_per_event(samples[name], ObjectKind.JET, b_tagged=True).mean() for name in names]
    axis.plot(tagged, range(len(names)), "o", label="b-tags")
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.set_xlabel("mean number per event")
    axis.legend(fontsize=7)
