"""Turned and mirrored training events: what changes, what must not, and that every form of a training sees the same."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from breakeven.feature import OBJECT, index_of
from breakeven.models import build
from breakeven.models.graph import edge_features, fully_connected
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.loop import train
from breakeven.training.nonfinite import NonFinite
from breakeven.training.recipe import Recipe, Strategy
from breakeven.training.symmetry import with_turns
from breakeven.training.training import Training

RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=1e-3, patience=None, symmetries=True)
ETA, PHI = index_of(OBJECT, "eta"), index_of(OBJECT, "phi")


@pytest.fixture
def data(make_events: Callable) -> tuple[EventTensors, torch.Tensor]:
    return make_events(60)


def training(data: tuple[EventTensors, torch.Tensor], seed: int = 1, size: int = 30, **options: object) -> Training:
    index = torch.randperm(40, generator=torch.Generator().manual_seed(seed))[:size]
    samples = [Sample(rows, data[1][rows]) for rows in (index, torch.arange(40, 60))]
    recipe = replace(RECIPE, seed=seed)
    return Training(build(1, iterations=2, seed=99).double(), data[0], *samples, recipe, **options)  # type: ignore[arg-type]


def test_events_are_turned_and_mirrored_as_wholes(data: tuple[EventTensors, torch.Tensor]) -> None:
    one = training(data)
    before, offsets = data[0].gather(one.train_sample.index)
    untouched = data[0].nodes.clone()
    (turned,) = with_turns([one])
    same, _ = turned.events.gather(turned.train_sample.index)
    torch.testing.assert_close(same, before)  # until an epoch begins
    turned.begin_epoch(0)
    after, _ = turned.events.gather(turned.train_sample.index)
    others = [column for column in range(before.shape[1]) if column not in (ETA, PHI)]
    torch.testing.assert_close(after[:, others], before[:, others])
    graph = fully_connected(offsets)
    pairs, pairs_before = (edge_features(nodes, graph.receiver, graph.sender) for nodes in (after, before))
    torch.testing.assert_close(pairs.abs(), pairs_before.abs(), rtol=0, atol=1e-5)
    signs = torch.sign(after[:, ETA] * before[:, ETA]).unique()
    assert set(signs.tolist()) - {0.0} == {-1.0, 1.0}
    mirrored = torch.sign(pairs[:, 1] * pairs_before[:, 1])[pairs_before[:, 1].abs() > 1e-3]
    assert set(mirrored.tolist()) == {-1.0, 1.0}
    assert (after[:, PHI].abs() <= torch.pi + 1e-6).all() and not torch.allclose(after[:, PHI], before[:, PHI])
    assert torch.equal(data[0].nodes, untouched)
    validation, _ = turned.events.gather(turned.validation_sample.index)
    torch.testing.assert_close(validation, data[0].gather(one.validation_sample.index)[0])


def test_angles_are_a_function_of_seed_and_epoch(data: tuple[EventTensors, torch.Tensor]) -> None:
    (first,), (again,) = (with_turns([training(data)]) for _ in range(2))
    other = with_turns([replace(training(data), recipe=replace(RECIPE, seed=2))])[0]

    def seen(one: Training, epoch: int) -> torch.Tensor:
        one.begin_epoch(epoch)
        return one.events.gather(one.train_sample.index)[0].clone()

    assert not torch.equal(seen(first, 0), seen(first, 1))
    torch.testing.assert_close(seen(first, 0), seen(again, 0), rtol=0, atol=0)  # whatever epoch was before
    assert not torch.equal(seen(first, 0), seen(other, 0))


def test_each_of_several_trainings_turns_its_own(data: tuple[EventTensors, torch.Tensor]) -> None:
    plain = replace(training(data, 3), recipe=replace(RECIPE, symmetries=False))
    made = with_turns([training(data, 1), plain, training(data, 2, size=7)])
    alone = [with_turns([training(data, seed, size=size)])[0] for seed, size in ((1, 30), (2, 7))]
    for one in (*made, *alone):
        one.begin_epoch(5)
    for one, expected in zip((made[0], made[2]), alone, strict=True):
        for found, wanted in zip(one.events.gather(one.train_sample.index),
                                 expected.events.gather(expected.train_sample.index), strict=True):  # fmt: skip
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert made[1].turns is None and len({id(one.events) for one in made}) == 1
    torch.testing.assert_close(
        made[1].events.gather(plain.train_sample.index)[0], data[0].gather(plain.train_sample.index)[0]
    )


def test_a_frozen_backbone_sees_events_as_they_are(data: tuple[EventTensors, torch.Tensor]) -> None:
    frozen = replace(training(data), strategy=Strategy("frozen"))
    assert with_turns([frozen]) == [frozen]


@pytest.mark.parametrize("form", ["eager", "captured"])
def test_a_training_that_goes_on_sees_what_it_would_have_seen(
    data: tuple[EventTensors, torch.Tensor], form: str
) -> None:
    states = []
    whole = training(data)
    train(whole, save=states.append, form=form)  # type: ignore[arg-type]
    resumed = training(data)
    train(resumed, resume_from=states[0], form=form)  # type: ignore[arg-type]
    eager = training(data)
    train(eager, form="eager")
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], weight, rtol=1e-10, atol=1e-10, msg=name)
        torch.testing.assert_close(eager.model.state_dict()[name], weight, rtol=1e-8, atol=1e-10, msg=name)
    plain = replace(training(data), recipe=replace(RECIPE, seed=1, symmetries=False))
    train(plain)
    assert not torch.allclose(plain.model.state_dict()["head.weight"], eager.model.state_dict()["head.weight"])


def test_a_bad_event_is_named_by_its_own_number(data: tuple[EventTensors, torch.Tensor]) -> None:
    one = replace(
        training(data), strategy=Strategy("finetune"), backbone=build(1, iterations=2, seed=7).double().state_dict()
    )
    bad = int(one.train_sample.index[4])
    data[0].nodes[data[0].offsets[bad], 0] = torch.nan
    with pytest.raises(NonFinite, match=rf"event {bad} has pt = nan"):
        train(one)
