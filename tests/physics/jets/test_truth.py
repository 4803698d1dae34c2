"""A jet is bb if a Higgs boson and both its bottom quarks are inside, and holds a top if all of its decay is."""

import numpy as np
import pytest
from physics.jets.builders import candidates, particles

from breakeven.physics.jets.clustering import cluster
from breakeven.physics.jets.truth import HIGGS, TOP, contains, truth_of

JET = [(300.0, 0.0, 0.0)]
"""One jet along the x axis."""


def higgs(quark: int, eta: float, phi: float = 0.0, at: float = 0.0) -> list:
    """A Higgs boson in the direction (at, phi) to two quarks, the second of them at eta."""
    return [
        (25, -22, 2, 2, 300.0, at, phi),  # the first copy, which does not count
        (25, -62, 3, 4, 300.0, at, phi),
        (quark, -23, 0, 0, 150.0, at, phi),
        (-quark, -23, 0, 0, 150.0, eta, phi),
    ]


@pytest.mark.parametrize(
    ("record", "bb"),
    [
        (higgs(5, 0.3), 1),
        (higgs(5, 0.9), 0),  # a quark outside
        (higgs(5, 0.3, phi=1.0), 0),  # another jet's
        (higgs(4, 0.3), 0),
        ([(5, -23, 0, 0, 100.0, 0.0, 0.0), (-5, -23, 0, 0, 100.0, 0.2, 0.0)], 0),  # of no Higgs boson
    ],
)
def test_bb(record: list, bb: int) -> None:
    assert truth_of(cluster(candidates(JET)), particles(record)).bb.tolist() == [bb]


def test_a_higgs_boson_of_another_event_does_not_count() -> None:
    jets = cluster(candidates(JET, JET, [], JET))
    true = truth_of(jets, particles([], higgs(5, 0.3), higgs(5, 0.3), []))
    assert true.bb.tolist() == [0, 1, 0]


def test_both_higgs_bosons_of_an_event_have_their_jet() -> None:
    jets = cluster(candidates([(300.0, 0.0, 0.0), (280.0, 0.1, 3.0), (220.0, 2.0, 1.5)]))
    first = higgs(5, 0.3)
    second = [
        (pdg, status, one and one + 4, two and two + 4, *rest) for pdg, status, one, two, *rest in higgs(5, 0.3, 3.0)
    ]
    assert truth_of(jets, particles(first + second)).bb.tolist() == [1, 1, 0]


def top(second: tuple[int, int], eta: float) -> list:
    """A top to b W, W to two particles after a copy, the last of them at eta."""
    return [
        (6, -62, 2, 3, 400.0, 0.0, 0.0),
        (5, -23, 0, 0, 100.0, 0.2, 0.0),
        (24, -22, 4, 4, 300.0, 0.0, 0.0),
        (24, -52, 5, 6, 300.0, 0.0, 0.0),
        (second[0], 23, 0, 0, 150.0, 0.1, 0.0),
        (second[1], 23, 0, 0, 150.0, eta, 0.0),
    ]


@pytest.mark.parametrize(
    ("products", "eta", "held"),
    [((2, -1), 0.3, True), ((2, -1), 1.0, False), ((-13, 14), 1.0, True), ((14, -13), 1.0, False)],
)
def test_a_top_is_inside_with_all_that_is_visible(products: tuple[int, int], eta: float, held: bool) -> None:
    jets = cluster(candidates(JET))
    assert contains(jets, particles(top(products, eta)), TOP).tolist() == [held]
    assert not contains(jets, particles(top(products, eta)), HIGGS).any()


def test_hadrons_with_a_bottom_quark_count_at_their_last_copy() -> None:
    record = [
        (513, -83, 2, 3, 60.0, 0.1, 0.0),  # B* to B gamma
        (511, -91, 4, 4, 59.0, 0.1, 0.0),
        (22, 91, 0, 0, 1.0, 0.1, 0.0),
        (-421, -91, 0, 0, 50.0, 0.1, 0.0),
        (-5122, -83, 4, 4, 40.0, 0.4, 0.1),
        (521, -83, 4, 4, 40.0, 2.0, 2.0),  # outside
        (521, -83, 4, 4, 3.0, 0.0, 0.0),  # too soft
    ]
    jets = cluster(candidates(JET, JET))
    assert truth_of(jets, particles(record, record[:4])).n_b.tolist() == [2, 1]
    assert truth_of(cluster(candidates([], JET)), particles(record, [])).n_b.tolist() == [0]


def test_no_jets_have_no_truth() -> None:
    true = truth_of(cluster(candidates([])), particles(higgs(5, 0.3)))
    assert true.bb.shape == true.n_b.shape == (0,) and true.bb.dtype == np.int8
