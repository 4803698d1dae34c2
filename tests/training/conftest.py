"""Synthetic events with something to learn: classes differ in hardness and number of objects. No physics files."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from breakeven.training.batches import EventTensors


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_events() -> Callable[..., tuple[EventTensors, Tensor]]:
    return synthetic_events


def synthetic_events(n: int, n_classes: int = 2, seed: int = 0) -> tuple[EventTensors, Tensor]:
    """`n` events and their class numbers [n]; class k has momenta harder by 1 + k and k more objects."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.arange(n) % n_classes
    counts = 1 + kind + torch.randint(0, 4, (n,), generator=generator)
    of_node = kind.repeat_interleave(counts)
    uniform = torch.rand(len(of_node), 7, generator=generator)
    pt = 20.0 - 30.0 * (1.0 - uniform[:, 0]).log() * (1 + of_node)
    eta, phi = 5.0 * uniform[:, 1] - 2.5, math.pi * (2.0 * uniform[:, 2] - 1.0)
    flags = [(uniform[:, 4] < 0.3).float(), (uniform[:, 5] * 3).floor() - 1.0, (uniform[:, 6] * 5).floor()]
    nodes = torch.stack([pt, eta, phi, pt * torch.cosh(eta), *flags], dim=1)
    return EventTensors(nodes, torch.cat([counts.new_zeros(1), counts.cumsum(0)])), kind
