"""Packs: each member gets what it would get alone, whatever the others do."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from breakeven.models import build
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.loop import train
from breakeven.training.nonfinite import NonFinite
from breakeven.training.pack import train_pack
from breakeven.training.recipe import Recipe, Result, Strategy
from breakeven.training.training import Failed, Training

RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=1e-3, patience=None, evaluation_batch_size=20)


@pytest.fixture
def data(make_events: Callable) -> tuple[EventTensors, torch.Tensor]:
    return make_events(120)


def member(data: tuple[EventTensors, torch.Tensor], seed: int, size: int = 40, **options: Any) -> Training:
    """A small training in float64 on its own `size` events, validated on events 90 to 119."""
    index = torch.randperm(90, generator=torch.Generator().manual_seed(seed))[:size]
    samples = [Sample(rows, data[1][rows]) for rows in (index, torch.arange(90, 120))]
    recipe = replace(options.pop("recipe", RECIPE), seed=seed)
    return Training(build(1, iterations=2, seed=99).double(), data[0], *samples, recipe, **options)


def alone(one: Training) -> tuple[Result, dict[str, torch.Tensor]]:
    model = build(1, iterations=2, seed=98).double()
    return train(replace(one, model=model)), model.state_dict()


def assert_same(outcome: Result | Failed, one: Training) -> None:
    """Curve, outcome and weights of a pack's member are those of the same training alone, to 1e-10."""
    assert isinstance(outcome, Result), outcome
    expected, weights = alone(one)
    facts = ("best_epoch", "plateau_epoch", "stopped")
    assert [getattr(outcome, name) for name in facts] == [getattr(expected, name) for name in facts]
    assert len(outcome.curve) == len(expected.curve)
    for epoch, wanted in zip(outcome.curve, expected.curve, strict=True):
        assert (epoch.epoch, epoch.events_seen, epoch.learning_rate) == (
            wanted.epoch, wanted.events_seen, wanted.learning_rate,
        )  # fmt: skip
        for name in ("train_loss", "validation_loss", "validation_accuracy", "validation_auc"):
            assert getattr(epoch, name) == pytest.approx(getattr(wanted, name), rel=1e-10), name
    for name, tensor in one.model.state_dict().items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-10, atol=1e-10, msg=name)


def test_members_get_what_they_would_get_alone(data: tuple[EventTensors, torch.Tensor]) -> None:
    backbone = build(1, iterations=2, seed=7).double().state_dict()
    members = [
        member(data, 1),
        member(data, 2, size=33, recipe=replace(RECIPE, learning_rate=3e-4)),  # a last batch of one event
        member(data, 3, size=7, recipe=replace(RECIPE, epochs=5, batch_size=3)),
        member(data, 4, strategy=Strategy("finetune"), backbone=backbone, recipe=replace(RECIPE, ratio=0.1)),
        member(data, 5, strategy=Strategy("frozen"), backbone=backbone),
        member(data, 6, recipe=replace(RECIPE, epochs=9, patience=1, min_delta=0.5)),
        member(data, 8, recipe=replace(RECIPE, symmetries=True)),
    ]
    outcomes = train_pack(members)
    for outcome, one in zip(outcomes, members, strict=True):
        assert_same(outcome, one)
    assert outcomes[5].stopped == "plateau"  # while others of the stack went on


def test_a_member_that_fails_hurts_no_other(data: tuple[EventTensors, torch.Tensor]) -> None:
    events = EventTensors(data[0].nodes.clone(), data[0].offsets)
    broken = 17
    events.nodes[int(events.offsets[broken]), 1] = math.nan
    data = events, data[1]
    good = [member(data, seed) for seed in (1, 2)]
    good = [replace(one, train_sample=_without(one.train_sample, broken)) for one in good]
    bad_event = replace(
        good[0], model=build(1, iterations=2).double(), train_sample=_with(good[0].train_sample, broken)
    )
    backbone = build(1, iterations=2, seed=7).double().state_dict()
    bad_event_later = replace(bad_event, model=build(1, iterations=2).double(), strategy=Strategy("finetune"),
                              backbone=backbone)  # fmt: skip
    diverging = member(data, 3, recipe=replace(RECIPE, learning_rate=1e300))
    diverging = replace(diverging, train_sample=good[1].train_sample)
    no_backbone = replace(member(data, 4), strategy=Strategy("finetune"))
    empty = replace(member(data, 5), validation_sample=Sample(torch.arange(0), torch.zeros(0)))
    members = [good[0], bad_event, bad_event_later, diverging, no_backbone, empty, good[1]]
    outcomes = train_pack(members)
    assert_same(outcomes[0], good[0])
    assert_same(outcomes[6], good[1])
    messages = [f"event {broken} has eta = nan", rf"epoch 0, batch \d: .*event {broken} has eta = nan",
                "lower the learning rate", "needs the weights", "validation sample is empty"]  # fmt: skip
    for outcome, message in zip(outcomes[1:6], messages, strict=True):
        assert isinstance(outcome, Failed)
        assert outcome.device_seconds > 0.0
        with pytest.raises(ValueError, match=message):
            raise outcome.error
    assert [isinstance(outcome.error, NonFinite) for outcome in outcomes[1:6]] == [True, True, True, False, False]


def test_only_networks_of_one_shape_share_a_stack(data: tuple[EventTensors, torch.Tensor]) -> None:
    other = replace(member(data, 2), model=build(1, iterations=1).double())
    members = [member(data, 1), other, member(data, 3), replace(member(data, 4), model=build(1, "dgl").double())]
    outcomes = train_pack(members)
    assert_same(outcomes[0], members[0])
    assert_same(outcomes[2], members[2])
    assert all(isinstance(outcome, Result) for outcome in outcomes)


def test_device_time_is_shared_by_work(data: tuple[EventTensors, torch.Tensor]) -> None:
    members = [member(data, 1, size=80), member(data, 2, size=10), member(data, 3, size=10)]
    before = time.process_time()
    outcomes = train_pack(members)
    spent = time.process_time() - before
    seconds = [outcome.curve[-1].device_seconds for outcome in outcomes]
    assert sum(seconds) == pytest.approx(spent, rel=0.3)
    assert seconds[0] > seconds[1]
    for outcome in outcomes:
        times = [epoch.device_seconds for epoch in outcome.curve]
        assert times == sorted(times)


def test_bfloat16_in_a_stack_is_that_of_the_loop(data: tuple[EventTensors, torch.Tensor]) -> None:
    recipe = replace(RECIPE, epochs=1, precision="bfloat16")
    members = [replace(member(data, seed, recipe=recipe), model=build(1, iterations=2)) for seed in (1, 2)]
    for outcome, one in zip(train_pack(members), members, strict=True):
        model = build(1, iterations=2)
        expected = train(replace(one, model=model))
        assert outcome.best.train_loss == pytest.approx(expected.best.train_loss, rel=0.02)
        assert one.model.head.weight.dtype is torch.float32


def test_on_epoch_may_end_one_member(data: tuple[EventTensors, torch.Tensor]) -> None:
    first = member(data, 1, on_epoch=lambda epoch: epoch.epoch == 0)
    outcomes = train_pack([first, member(data, 2)])
    assert [(len(outcome.curve), outcome.stopped) for outcome in outcomes] == [(1, "asked"), (3, "epochs")]


def test_an_empty_pack_and_one_alone(data: tuple[EventTensors, torch.Tensor]) -> None:
    assert train_pack([]) == []
    one = member(data, 1)
    assert_same(train_pack([one])[0], one)


def _without(sample: Sample, event: int) -> Sample:
    keep = sample.index != event
    return Sample(sample.index[keep], sample.target[keep])


def _with(sample: Sample, event: int) -> Sample:
    return Sample(torch.cat([sample.index, torch.tensor([event])]), torch.cat([sample.target, sample.target[:1]]))
