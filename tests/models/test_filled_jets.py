"""Batches of jets filled up to a fixed size: what fills up changes nothing, and nothing waits for the host."""

import pytest
import torch
from models.jet_batches import LEVELS, SMALL, random_batch
from torch._subclasses import FakeTensorMode

from breakeven.models.filled_jets import JetEvents, Room
from breakeven.models.jet_network import REPRESENTATIONS, JetNetwork
from breakeven.models.spec import NetworkSpec

EVENTS = [(20, 31, 4), (), (9,), (12, 40, 0, 8, 15, 33, 2), (0,), (3, 3), (17, 1)]


def built(representation: str, dtype: torch.dtype, **more: int) -> JetNetwork:
    model = NetworkSpec("jet_transformer", {**SMALL, "representation": representation, **more}).build(LEVELS, 2, 3)
    assert isinstance(model, JetNetwork)
    model.fit_scaling([random_batch(EVENTS)])
    return model.to(dtype)


def room_for(events: JetEvents, index: torch.Tensor, more: int) -> Room:
    jets, constituents, pairs = events.sizes(index).sum(0).tolist()
    return Room(jets + more, constituents + more, pairs + 3 * more, events.longest + more)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("index", "count"), [([0, 3, 5], 3), ([3, 1, 4, 2, 0, 6, 5], 7), ([6, 2, 0], 2), ([1, 4], 2), ([5, 0], 0)]
)
@pytest.mark.parametrize(("more", "constituents"), [(0, 0), (7, 0), (3, 4)])
def test_outputs_and_gradients_are_those_of_the_batch_alone(
    representation: str, dtype: torch.dtype, index: list[int], count: int, more: int, constituents: int
) -> None:
    model, batch = built(representation, dtype, constituents=constituents), random_batch(EVENTS, dtype=dtype)
    events = JetEvents(*batch, model.most_jets, model.most_constituents)
    rows = torch.tensor(index)
    room = room_for(events, rows[:count], more)
    outputs = model(*events.fill(rows, torch.tensor(count), room), room=room)[:count]
    alone = JetEvents(*batch, most=99)
    exact = room_for(alone, rows[:count], 0)
    jets, offsets, inside, inner = alone.fill(rows[:count], torch.tensor(count), exact)
    expected = model(jets[:-1], offsets, inside[:-1], inner[:-1])
    tolerance = 1e-10 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(outputs, expected, rtol=tolerance, atol=tolerance)
    if not count:
        return
    parameters = list(model.parameters())
    gradients = [
        torch.autograd.grad(values.square().sum(), parameters, allow_unused=True) for values in (outputs, expected)
    ]
    scale = max(float(one.abs().max()) for one in gradients[1] if one is not None)
    for one, other in zip(*gradients, strict=True):
        one, other = (torch.zeros(()) if each is None else each for each in (one, other))
        torch.testing.assert_close(one + 0 * other, other + 0 * one, rtol=tolerance, atol=tolerance * max(1.0, scale))


def test_sizes_are_those_of_the_leading_jets() -> None:
    events = JetEvents(*random_batch(EVENTS), most=5)
    counted = [
        (3, 55, 210 + 496 + 10),
        (0, 0, 0),
        (1, 9, 45),
        (5, 75, 78 + 820 + 36 + 120),
        (1, 0, 0),
        (2, 6, 12),
        (2, 18, 154),
    ]
    assert events.sizes(torch.arange(7)).tolist() == list(map(list, counted))
    assert events.sizes(torch.tensor([3, 0])).tolist() == [list(counted[3]), list(counted[0])]
    assert events.longest == 40


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_nothing_waits_for_the_host(representation: str) -> None:
    """On tensors without values a look at one is an error."""
    model, batch = built(representation, torch.float32), random_batch(EVENTS, dtype=torch.float32)
    events, rows = JetEvents(*batch, model.most_jets), torch.tensor([0, 3, 5])
    room = room_for(events, rows, 7)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = JetEvents(*map(mode.from_tensor, batch), model.most_jets)
        filled = fake.fill(mode.from_tensor(rows), mode.from_tensor(torch.tensor(3)), room)
        outputs = model(*filled, room=room)
        outputs.square().sum().backward()
        assert outputs.shape == (3, 2)
        with pytest.raises(Exception, match=r"data-dependent|data dependent|item|_local_scalar_dense"):
            model(*filled)
