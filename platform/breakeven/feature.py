"""Features: what is known of each thing inside an event, told once for all who write, read, scale or describe events.

Holds the value type, the features of reconstructed objects, and the check that numbers can be what they claim to be.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np


@dataclass(frozen=True)
class Feature:
    """One number of each object (or jet, or constituent), or of the event itself.

    unit: "GeV", "rad", "e", or "1" for pure numbers.  dtype: NumPy's name of the type at rest.
    low, high: where its values lie, both included.  title: what it is, for those who bring events.
    log_floor: networks that take logarithms of momenta take that of max(value, log_floor); None: never.
    few: whether it has few distinct values, as those of a table, and is kept as places in a list of them.
    derive: for a feature that is not at rest, from the stored columns by name to its values.
    """

    name: str
    unit: str = "1"
    dtype: str = "float32"
    low: float = -math.inf
    high: float = math.inf
    title: str = ""
    log_floor: float | None = None
    few: bool = False
    derive: Callable[[Mapping[str, np.ndarray]], np.ndarray] | None = None

    @property
    def whole(self) -> bool:
        """Whether it is stored as a whole number."""
        return np.issubdtype(self.dtype, np.integer)

    @property
    def values(self) -> str:
        """Its unit, or for flags and categories its range, for people."""
        return f"{self.low:g} to {self.high:g}" if self.whole and self.unit == "1" else self.unit


def massless_energy(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """E = pt cosh(eta) in GeV: objects are massless by convention."""
    with np.errstate(over="ignore"):  # of an eta such as -999, which first_misfit names
        energy: np.ndarray = columns["pt"] * np.cosh(columns["eta"])
        return energy


MOMENTUM_FLOOR = 1.0
"""GeV. Only missing momenta, far below resolution, reach it."""

OBJECT = (
    Feature("pt", "GeV", low=0.0, title="transverse momentum; of MET its magnitude", log_floor=MOMENTUM_FLOOR),
    Feature("eta", low=-10.0, high=10.0, title="pseudorapidity; 0 for MET"),
    Feature("phi", "rad", low=-math.pi, high=math.pi, title="azimuth in (-pi, pi]"),
    Feature("energy", "GeV", low=0.0, title="energy", log_floor=MOMENTUM_FLOOR, derive=massless_energy),
    Feature("b_tag", "1", "int8", 0, 1, "whether the jet is b-tagged; 0 for all else"),
    Feature("charge", "e", "int8", -1, 1, "electric charge of electrons and muons; 0 for all else"),
    Feature("kind", "1", "int8", 0, 4, "0 jet, 1 electron, 2 muon, 3 photon, 4 missing transverse momentum (MET)"),
)
"""Of a reconstructed object, in the order of a network's input."""

Events = TypeVar("Events")
"""Many events in the form that their kind's variables are computed from."""


@dataclass(frozen=True)
class Variable(Generic[Events]):
    """One high-level number of an event. compute: of many events to [n_events]; NaN where it does not exist."""

    name: str
    unit: str
    title: str
    compute: Callable[[Events], np.ndarray]


Levels = Sequence[Sequence[Feature]]
"""The features of each level of events, from the outside in: (OBJECT,) for whole events."""


def index_of(features: Sequence[Feature], name: str) -> int:
    """The column of a feature; raises ValueError where there is none of that name."""
    return [feature.name for feature in features].index(name)


def stored(features: Sequence[Feature]) -> tuple[Feature, ...]:
    """Those at rest; the others follow from them."""
    return tuple(feature for feature in features if feature.derive is None)


def stack(columns: Mapping[str, np.ndarray], features: Sequence[Feature]) -> np.ndarray:
    """All features, derived ones too, [n_things, n_features] float32; columns: the stored ones by name, [n_things] each."""
    values = [columns[one.name] if one.derive is None else one.derive(columns) for one in features]
    return np.stack(values, axis=1).astype(np.float32)


def first_misfit(values: np.ndarray, features: Sequence[Feature]) -> tuple[int, str] | None:
    """The row of the first value [n_things, n_features] float32 that cannot be, and what is wrong; None where all can."""
    limits = np.array([(feature.low, feature.high) for feature in features], np.float32).T
    good = np.isfinite(values) & (values >= limits[0]) & (values <= limits[1])
    if good.all():
        return None
    row, column = np.argwhere(~good)[0]
    feature, value = features[column], values[row, column]
    if not np.isfinite(value):
        return int(row), f"{feature.name} = {value}: features must be finite"
    return int(
        row
    ), f"{feature.name} = {value:g}: it lies between {feature.low:g} and {feature.high:g} ({feature.unit})"
