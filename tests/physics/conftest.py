"""Events made once for all tests of physics: 300 of each process, multiparton interactions off."""

from collections.abc import Callable
from functools import cache

import pytest

from breakeven.physics.generator import Generated, generate
from breakeven.physics.processes import process

N_EVENTS = 300


@pytest.fixture(scope="session")
def sample() -> Callable[[str], Generated]:
    """A function from the name of a process to 300 of its events."""

    @cache
    def make(name: str) -> Generated:
        return generate(process(name), N_EVENTS, seed=1)

    return make
