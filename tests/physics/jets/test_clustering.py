"""Jets have the masses of their candidates, soft drop removes what is soft and wide, and any number of constituents will do."""

import numpy as np
import pytest
from physics.jets.builders import candidates

from breakeven.physics.jets.clustering import MAX_CONSTITUENTS, cluster, concatenate, take


def test_two_prongs_have_their_mass_and_keep_it() -> None:
    jets = cluster(candidates([(200.0, 0.0, 0.0), (150.0, 0.3, 0.4)]))
    mass = np.sqrt(2 * 200 * 150 * (np.cosh(0.3) - np.cos(0.4)))
    assert jets.counts.tolist() == [1] and jets.mass[0] == pytest.approx(mass)
    assert jets.soft_drop_mass[0] == pytest.approx(mass)


def test_soft_drop_removes_a_soft_prong_and_not_one_above_the_cut() -> None:
    soft = cluster(candidates([(300.0, 0.0, 0.0), (30.0, 0.3, 0.4)]))  # 30 / 330 < 0.1
    hard = cluster(candidates([(300.0, 0.0, 0.0), (37.0, 0.3, 0.4)]))
    assert soft.mass[0] > 40 and soft.soft_drop_mass[0] == pytest.approx(0, abs=1e-3)
    assert hard.soft_drop_mass[0] == pytest.approx(hard.mass[0])


def test_events_without_jets_and_jets_of_any_size() -> None:
    random = np.random.default_rng(1)
    near = [(float(pt), *random.normal(0, 0.1, 2)) for pt in random.uniform(1, 3, 500)]
    jets = cluster(
        candidates(
            [],
            [(300.0, 0.1, 3.1)],
            [(0.9, *random.normal(0, 0.1, 2)) for _ in range(400)],  # hard together, and none of them kept
            [(20.0, 0.0, 0.0)],
            near,
            [(300.0, 2.6, 0.0)],  # too far forward
        )
    )
    assert jets.counts.tolist() == [0, 1, 1, 0, 1, 0]
    assert jets.constituents.counts.tolist() == [1, 0, MAX_CONSTITUENTS]
    assert jets.mass[0] == pytest.approx(0, abs=1e-3) and jets.soft_drop_mass[0] == pytest.approx(0, abs=1e-3)
    kept = jets.constituents.pt[1:]
    assert (np.diff(kept) <= 0).all()
    np.testing.assert_allclose(kept, np.sort([pt for pt, _, _ in near])[::-1][:MAX_CONSTITUENTS])
    assert np.isfinite(jets.soft_drop_mass).all()


def test_nothing_at_all() -> None:
    jets = cluster(candidates([], []))
    assert jets.counts.tolist() == [0, 0] and len(jets.pt) == len(jets.constituents.pt) == 0


def test_jets_come_by_falling_pt_with_their_own_constituents() -> None:
    event = [(250.0, 0.0, 0.0), (5.0, 0.1, 0.1), (400.0, 1.0, 2.0), (7.0, 1.1, 2.1), (210.0, -1.0, -2.0)]
    jets = cluster(candidates([(220.0, 0.0, 1.0)], event))
    assert jets.counts.tolist() == [1, 3] and (np.diff(jets.pt[1:]) < 0).all()
    assert jets.constituents.counts.tolist() == [1, 2, 2, 1]
    np.testing.assert_allclose(jets.constituents.pt, [220, 400, 7, 250, 5, 210])


def test_taken_jets_bring_what_is_in_them() -> None:
    event = [(250.0, 0.0, 0.0), (5.0, 0.1, 0.1), (400.0, 1.0, 2.0)]
    jets = cluster(candidates(event, event))
    some = take(jets, np.array([1, 2]), np.array([1, 1]))
    np.testing.assert_allclose(some.constituents.pt, [250, 5, 400])
    both = concatenate([some, some])
    assert both.counts.tolist() == [1] * 4 and both.constituents.counts.tolist() == [2, 1, 2, 1]
