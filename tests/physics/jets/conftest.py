"""Events of jets made once for all tests, multiparton interactions off."""

from collections.abc import Callable
from functools import cache

import pytest

from breakeven.physics.jets.generator import JetEvents, generate
from breakeven.physics.jets.processes import CATALOGUE


@pytest.fixture(scope="session")
def jet_sample() -> Callable[[str, int], JetEvents]:
    """A function from the name of a process and a number to so many of its events."""

    @cache
    def make(name: str, n_events: int) -> JetEvents:
        return generate(CATALOGUE[name], n_events, seed=1)

    return make
