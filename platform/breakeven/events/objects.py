"""The schema of whole events: reconstructed objects and the truth, as the generator makes them.

Holds the first `EventSchema` and the way from generated events to a table and back.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from breakeven.events.schema import EventSchema, HighLevel, Level, unnested
from breakeven.feature import OBJECT, Feature
from breakeven.physics import truth, variables
from breakeven.physics.detector import Objects
from breakeven.physics.truth import Truth

MULTIPLICITIES = ("n_higgs", "n_top", "n_w", "n_z")
HEAVY = ("higgs", "top1", "top2")
_HEAVY_UNITS = {"pt": "GeV", "eta": "1", "phi": "rad"}


def labels_of(table: pa.Table) -> np.ndarray:
    """The label vectors of events, [n_events, 41] uint8."""
    return truth.labels(truth_of(table)).astype(np.uint8)


def variables_of(levels: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """High-level variables of events [n_events, n_variables] float32."""
    return variables.high_level(*levels[0])


OBJECTS = EventSchema(
    version=1,
    levels=(Level("object", OBJECT, order=("kind", "pt", "eta", "phi", "b_tag", "charge")),),
    event=(
        *(Feature(name, dtype="int8") for name in MULTIPLICITIES),
        *(Feature(f"{name}_{what}", unit) for name in HEAVY for what, unit in _HEAVY_UNITS.items()),
    ),
    label_names=truth.LABEL_NAMES,
    labels=labels_of,
    high_level=HighLevel(str(variables.VARIABLES_VERSION), variables_of),
)


def to_table(objects: Objects, true: Truth, hard_event: np.ndarray) -> pa.Table:
    """Generated events as one Arrow table with the schema `OBJECTS`."""
    columns: dict[str, np.ndarray] = {"hard_event": hard_event.astype(np.int64)}
    columns |= {name: getattr(objects, name) for name in OBJECTS.levels[0].columns}
    columns |= {name: np.asarray(getattr(true, name), np.int8) for name in MULTIPLICITIES}
    for name in HEAVY:
        values = np.asarray(getattr(true, name), np.float32)
        columns |= {f"{name}_{what}": values[:, column] for column, what in enumerate(_HEAVY_UNITS)}
    return OBJECTS.table([objects.counts], columns)


def objects_of(table: pa.Table) -> Objects:
    """The reconstructed objects of a table with the schema `OBJECTS`."""
    (counts,), _ = unnested(table, "kind")
    columns = {name: unnested(table, name)[1] for name in OBJECTS.levels[0].columns}
    return Objects(counts=counts.astype(np.int64), **columns)


def truth_of(table: pa.Table) -> Truth:
    """The truth content of a table with the schema `OBJECTS`."""
    heavy = {name: np.stack([table[f"{name}_{what}"].to_numpy() for what in _HEAVY_UNITS], axis=1) for name in HEAVY}
    return Truth(**{name: table[name].to_numpy() for name in MULTIPLICITIES}, **heavy)
