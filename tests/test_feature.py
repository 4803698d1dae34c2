import re

import numpy as np
import pytest

from breakeven.feature import OBJECT, Feature, first_misfit, index_of, stack, stored


def jet(**changes):
    columns = {"pt": 50.0, "eta": -1.5, "phi": 0.3, "b_tag": 1, "charge": 0, "kind": 0} | changes
    return {name: np.array([value, value], np.float32) for name, value in columns.items()}


def test_energy_follows_from_what_is_stored():
    assert [feature.name for feature in stored(OBJECT)] == ["pt", "eta", "phi", "b_tag", "charge", "kind"]
    nodes = stack(jet(), OBJECT)
    assert nodes.shape == (2, 7) and nodes.dtype == np.float32
    np.testing.assert_allclose(nodes[:, index_of(OBJECT, "energy")], 50.0 * np.cosh(1.5), rtol=1e-6)
    assert first_misfit(nodes, OBJECT) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phi": np.nan}, "phi = nan: features must be finite"),
        ({"pt": -1.0}, r"pt = -1: it lies between 0 and inf \(GeV\)"),
        ({"phi": 180.0}, r"phi = 180: it lies between -3.14159 and 3.14159 \(rad\)"),
        ({"eta": -999.0}, "eta = -999: it lies between -10 and 10"),
        ({"kind": 5}, "kind = 5: it lies between 0 and 4"),
    ],
)
def test_values_that_cannot_be_are_named(change, message):
    nodes = np.concatenate([stack(jet(), OBJECT), stack(jet(**change), OBJECT)])
    row, found = first_misfit(nodes, OBJECT)
    assert row == 2 and re.match(message, found)


def test_the_edge_of_the_range_belongs_to_it():
    assert first_misfit(stack(jet(phi=np.float32(np.pi), b_tag=0, charge=-1, kind=4), OBJECT), OBJECT) is None


def test_people_read_units_and_ranges():
    assert [feature.values for feature in OBJECT] == ["GeV", "1", "rad", "GeV", "0 to 1", "e", "0 to 4"]
    assert not Feature("mass", "GeV").whole
