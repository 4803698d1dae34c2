"""CP-even and CP-odd hard events: kinematics, cross sections, colours."""

from functools import cache

import numpy as np
import pytest

from breakeven.physics import higgs_cp
from breakeven.physics.hard import HardEvents
from breakeven.physics.processes import Process, process

N_EVENTS = 1500


@cache
def hard_events(name: str) -> HardEvents:
    return higgs_cp.hard_events(process(name), N_EVENTS, 10**9, 7, np.random.default_rng(3))


def higgs_pt(events: HardEvents) -> np.ndarray:
    return np.hypot(*events.momentum.reshape(-1, 5, 4)[:, 4, :2].T)


def test_cp_odd_is_much_harder() -> None:
    even, odd = higgs_pt(hard_events("ttH_yy_even")), higgs_pt(hard_events("ttH_yy_odd"))
    assert 108 < even.mean() < 125
    assert 154 < odd.mean() < 180


def test_ratio_of_cross_sections() -> None:
    even, odd = hard_events("ttH_yy_even"), hard_events("ttH_yy_odd")
    assert 0.48 < odd.cross_section_pb / even.cross_section_pb < 0.57
    assert odd.cross_section_error_pb < 0.1 * odd.cross_section_pb


@pytest.mark.parametrize("name", ["ttH_yy_even", "ttH_yy_odd"])
def test_events_are_on_shell_balanced_and_coloured(name: str) -> None:
    events = hard_events(name)
    assert len(events.counts) == N_EVENTS
    momentum = events.momentum.reshape(-1, 5, 4)
    assert np.abs(momentum[:, :2].sum(axis=1) - momentum[:, 2:].sum(axis=1)).max() < 1e-6
    mass = np.sqrt(momentum[..., 3] ** 2 - (momentum[..., :3] ** 2).sum(axis=2)[..., :])[:, 2:]
    assert np.allclose(mass, [173, 173, 125], rtol=1e-6)
    # each incoming colour leaves with a top or ends in the other gluon
    colour, anticolour = events.colour.reshape(-1, 5), events.anticolour.reshape(-1, 5)
    leaving = np.sort(np.concatenate([colour[:, 2:], anticolour[:, :2]], axis=1))
    entering = np.sort(np.concatenate([anticolour[:, 2:], colour[:, :2]], axis=1))
    assert np.array_equal(leaving, entering)
    assert 0.4 < (colour[:, 2] == colour[:, 0]).mean() < 0.6


def test_copies_share_their_identity_and_are_few() -> None:
    even, odd = hard_events("ttH_yy_even"), hard_events("ttH_yy_odd")
    assert len(np.unique(even.identity)) == N_EVENTS
    unique, first = np.unique(odd.identity, return_index=True)
    assert 0.9 * N_EVENTS < len(unique) < N_EVENTS
    same = np.diff(odd.identity) == 0
    assert np.array_equal(odd.momentum.reshape(-1, 20)[:-1][same], odd.momentum.reshape(-1, 20)[1:][same])
    assert len(first) == len(np.unique(odd.momentum.reshape(-1, 20), axis=0))


def test_a_coupling_is_needed() -> None:
    nothing = Process("none", "none", "matrix_element", yukawa=(0.0, 0.0))
    with pytest.raises(ValueError, match="not both zero"):
        higgs_cp.hard_events(nothing, 10, 0, 1, np.random.default_rng(0))
