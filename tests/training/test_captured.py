"""The captured step's logic, on CPU: the same numbers as the loop, whatever the batches, and nothing where nobody takes part."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from breakeven.models import build
from breakeven.training import checkpoint, feeds
from breakeven.training.batches import EventTensors, Sample, epoch_order, share
from breakeven.training.captured import Captured
from breakeven.training.engine import Engine
from breakeven.training.engines import captured_networks
from breakeven.training.feeds import Batches
from breakeven.training.loop import Form, train
from breakeven.training.nonfinite import NonFinite
from breakeven.training.objectives import balanced, named_objective
from breakeven.training.pack import train_pack
from breakeven.training.plain_engine import whole_networks
from breakeven.training.recipe import Epoch, Recipe, Strategy
from breakeven.training.training import Training
from breakeven.training.workers import ALONE

SMALL = Recipe(objective="multiclass", epochs=3, batch_size=16, learning_rate=1e-3, patience=None)
Data = tuple[EventTensors, Sample, Sample]


def network(seed: int = 0, n_outputs: int = 3) -> torch.nn.Module:
    return build(n_outputs, iterations=2, seed=seed).double()


@pytest.fixture
def data(make_events: Callable) -> Data:
    events, kind = make_events(100, n_classes=3)
    index = torch.arange(100)
    return events, Sample(index[:70], kind[:70]), Sample(index[70:], kind[70:])


def without_times(curve: tuple[Epoch, ...]) -> list[Epoch]:
    return [replace(epoch, wall_seconds=0.0, device_seconds=0.0) for epoch in curve]


def assert_alike(curve: tuple[Epoch, ...], expected: tuple[Epoch, ...]) -> None:
    assert [epoch.events_seen for epoch in curve] == [epoch.events_seen for epoch in expected]
    for epoch, wanted in zip(curve, expected, strict=True):
        for name in ("train_loss", "validation_loss", "validation_accuracy", "validation_auc", "learning_rate"):
            assert getattr(epoch, name) == pytest.approx(getattr(wanted, name), rel=1e-9), name


@pytest.mark.parametrize("n_train, batch_size", [(70, 16), (1, 4), (16, 16), (17, 8), (5, 100)])
@pytest.mark.parametrize("strategy", ["scratch", "finetune"])
def test_a_captured_training_is_that_of_the_loop(data: Data, n_train: int, batch_size: int, strategy: str) -> None:
    events, training, validation = data
    training = Sample(training.index[-n_train:], training.target[-n_train:])
    recipe = replace(SMALL, batch_size=batch_size, ratio=0.1, decay=0.5)
    backbone = network(7).state_dict() if strategy == "finetune" else None
    models = network(), network()
    results = [
        train(
            Training(model, events, training, validation, recipe, strategy=Strategy(strategy), backbone=backbone),
            form=form,
        )
        for model, form in zip(models, ("captured", "eager"), strict=True)
    ]
    assert_alike(results[0].curve, results[1].curve)
    for name, tensor in models[0].state_dict().items():
        torch.testing.assert_close(tensor, models[1].state_dict()[name], rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("objective", ["binary", "weighted", "multilabel"])
def test_all_objectives_are_those_of_the_loop(data: Data, objective: str) -> None:
    events, *samples = data
    flags = [torch.stack([s.target.float() * scale for scale in (1, 0.5, 2, 1, 1)], 1) for s in samples]
    targets = {
        "binary": [(sample.target == 1).float() for sample in samples],
        "weighted": [balanced((samples[0].target == 1).float()), (samples[1].target == 1).float()],
        "multilabel": [
            torch.cat([f, torch.nn.functional.one_hot(s.target, 3)], 1) for f, s in zip(flags, samples, strict=True)
        ],
    }[objective]
    prepared = [Sample(sample.index, target) for sample, target in zip(samples, targets, strict=True)]
    recipe = replace(SMALL, objective=objective, epochs=2)
    n_outputs = 8 if objective == "multilabel" else 1
    curves = [
        train(Training(network(0, n_outputs), events, *prepared, recipe), form=form).curve
        for form in ("captured", "eager")
    ]
    assert_alike(*curves)


def test_losses_of_events_add_up_to_the_loss(make_events: Callable) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(20, 8, generator=generator, dtype=torch.float64)
    for name, n, target in (
        ("binary", 1, torch.arange(20) % 2),
        ("multiclass", 8, torch.arange(20) % 8),
        ("multilabel", 8, torch.cat([torch.randn(20, 5, generator=generator), torch.eye(20)[:, :3]], 1)),
    ):
        objective = named_objective(name, n)
        prepared = objective.prepare(target)
        each = objective.losses(outputs[:, :n], prepared)
        assert each.shape == (20,)
        torch.testing.assert_close(each.sum(), objective.loss_sum(outputs[:, :n], prepared))


def test_the_same_bits_twice_and_after_a_resumption(data: Data, tmp_path: Path) -> None:
    recipe = replace(SMALL, epochs=4)
    models = [network(seed) for seed in (1, 2, 3, 4)]
    whole, again = (train(Training(model, *data, recipe), form="captured") for model in models[:2])
    assert without_times(whole.curve) == without_times(again.curve)

    def save(state: checkpoint.TrainingState) -> None:
        checkpoint.write_state(tmp_path, state)

    train(Training(models[2], *data, replace(recipe, epochs=2)), form="captured", save=save)
    state = checkpoint.read_state(tmp_path)
    resumed = train(Training(models[2], *data, recipe), form="captured", resume_from=state)
    assert without_times(resumed.curve) == without_times(whole.curve)
    for name, tensor in models[0].state_dict().items():
        assert torch.equal(tensor, models[1].state_dict()[name])
        assert torch.equal(tensor, models[2].state_dict()[name])
    elsewhere = train(
        Training(models[3], *data, recipe), form="eager", resume_from=state
    )  # begun on a GPU, ended on CPU
    assert_alike(elsewhere.curve, whole.curve)


def test_what_is_not_finite_is_named_as_in_the_loop(data: Data) -> None:
    events, training, validation = data
    broken = EventTensors(events.nodes.clone(), events.offsets)
    broken.nodes[int(events.offsets[40]), 2] = math.nan
    reasons = []
    for form in ("captured", "eager"):
        with pytest.raises(NonFinite) as error:
            strategy, backbone = Strategy("finetune"), network(7).state_dict()
            train(Training(network(), broken, training, validation, SMALL, strategy, backbone), form=form)
        reasons.append((str(error.value), error.value.epoch, error.value.batch))
    assert reasons[0] == reasons[1] and "event 40 has phi = nan" in reasons[0][0]
    with pytest.raises(NonFinite, match="lower the learning rate"):
        train(Training(network(), *data, replace(SMALL, learning_rate=1e300)), form="captured")


def on_the_host(events: EventTensors) -> EventTensors:
    """The same events as on a device that has no room for them."""
    streamed = EventTensors.from_arrays(events.nodes.numpy(), events.offsets.numpy(), free_bytes=1)
    assert streamed.onto == torch.device("cpu")
    return streamed


@pytest.mark.parametrize("window_bytes", [1, 40_000, 1 << 22])
def test_events_that_do_not_fit_give_the_same_bits(
    data: Data, window_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows of one step, of some, and all of an epoch; the pack's members end after different steps."""
    events, training, validation = data
    monkeypatch.setattr(feeds, "WINDOW_BYTES", window_bytes)
    outcomes = []
    for seen in (events, on_the_host(events)):
        models = network(1), network(2)
        samples = training, Sample(training.index[:20], training.target[:20])
        recipe = replace(SMALL, epochs=2, batch_size=4, symmetries=window_bytes == 1)
        pack = [
            Training(model, seen, sample, validation, recipe) for model, sample in zip(models, samples, strict=True)
        ]
        outcomes.append((models, train_pack(pack)))
    (models, results), (others, others_results) = outcomes
    for model, other, result, other_result in zip(models, others, results, others_results, strict=True):
        assert [e.validation_loss for e in result.curve] == [e.validation_loss for e in other_result.curve]
        assert [e.train_loss for e in result.curve] == [e.train_loss for e in other_result.curve]
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name


@pytest.mark.parametrize(("form", "strategy"), [("eager", "scratch"), (None, "frozen")])
def test_events_that_do_not_fit_train_without_a_capture_too(data: Data, form: Form | None, strategy: str) -> None:
    events, *samples = data
    backbone = network(7).state_dict() if strategy == "frozen" else None
    curves = [
        train(Training(network(), seen, *samples, SMALL, Strategy(strategy), backbone), form=form).curve
        for seen in (events, on_the_host(events))
    ]
    assert without_times(curves[0]) == without_times(curves[1])


def test_what_goes_wrong_while_a_window_is_gathered_is_raised(data: Data) -> None:
    events, training, validation = data
    captured = captured_networks([Training(network(), on_the_host(events), training, validation, SMALL)])
    with pytest.raises(IndexError):
        captured.train(torch.full((70,), 70), torch.ones(1, 2), [True])


def test_what_cannot_be_captured_says_so(data: Data) -> None:
    with pytest.raises(ValueError, match="GraphNetwork with the strategy frozen"):
        train(
            Training(network(), *data, SMALL, strategy=Strategy("frozen"), backbone=network(7).state_dict()),
            form="captured",
        )


@pytest.mark.parametrize("world", [1, 2, 3])
def test_batches_are_those_of_the_loop(world: int) -> None:
    sizes, batch_sizes = [33, 4, 1], [8, 4, 5]
    for rank in range(world):
        workers = _Rank(rank, world)
        batches = Batches.cut(sizes, batch_sizes, workers)
        assert batches.whole.shape == (5, 3)
        for k, size in enumerate(batch_sizes):
            listed = torch.arange(sum(sizes[:k]), sum(sizes[: k + 1])).split(size)
            for step in range(5):
                batch = listed[step] if step < len(listed) else torch.arange(0)
                own = batch[share(len(batch), rank, world)]
                first = int(batches.first[step, k])
                assert torch.equal(torch.arange(first, first + int(batches.count[step, k])), own)
                assert int(batches.whole[step, k]) == len(batch)


def test_the_largest_batch() -> None:
    batches = Batches.cut([3, 2], [2, 2])  # objects 1 4 | 5, and 2 2
    objects = torch.tensor([1, 4, 5, 2, 2])
    assert batches.largest(torch.stack([objects, objects * (objects - 1)], dim=1)).tolist() == [5, 20]


def test_who_takes_no_part_keeps_every_bit_and_larger_batches_get_room(data: Data) -> None:
    """The second epoch's order has all large events in one batch, for which there is no room at first."""
    events, training, validation = data
    objects = events.offsets.diff()
    models, sizes, made = [network(0), network(1)], [], []

    def engine(batch: int, most_nodes: int, most_edges: int):
        sizes.append((most_nodes, most_edges))
        made.append(whole_networks(trainings, batch, most_nodes, most_edges))
        return made[-1]

    recipe = replace(SMALL, batch_size=8)
    trainings = [Training(model, events, training, validation, recipe) for model in models]
    captured = Captured(engine, trainings, lambda index: torch.stack([objects, objects * (objects - 1)], dim=1)[index])
    rates = torch.full((2, 2), 1e-3, dtype=torch.float64)
    mixed, sorted_by_size = epoch_order(70, 0, 0), objects[:70].argsort(descending=True)
    both = [torch.cat([order, order + 70]) for order in (mixed, sorted_by_size)]
    captured.train(both[0], rates, [True, True])
    before = [captured.engine.weights.detach().clone(), captured.engine.first.clone(), captured.engine.steps.clone()]
    losses = captured.train(both[1], rates, [True, False])
    after = [captured.engine.weights.detach(), captured.engine.first, captured.engine.steps]
    assert len(sizes) == 2 and sizes[1][0] > sizes[0][0]
    largest = objects[sorted_by_size][:8]
    assert sizes[1][0] >= int(largest.sum()) and sizes[1][1] >= int((largest * (largest - 1)).sum())
    assert captured.engine is made[1]
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old[1], new[1]) and not torch.equal(old[0], new[0])
    assert after[2].tolist() == [18.0, 9.0]
    assert bool(losses[:, 0].isfinite().all()) and losses[0, 0] > 0


def test_workers_have_the_room_that_any_of_them_needs(data: Data) -> None:
    """So that they make engines, and capture what they exchange, together."""
    training, workers, made = Training(network(), *data, replace(SMALL, batch_size=8)), _Rank(0, 2), []
    workers.gather = lambda rows: torch.cat([rows, rows + 1000])

    def engine(batch: int, most_nodes: int, most_edges: int) -> Engine:
        made.append((most_nodes, most_edges))
        return whole_networks([training], batch, most_nodes, most_edges)

    captured = Captured(engine, [training], lambda index: torch.ones(len(index), 2).long(), workers=workers)
    captured.train(torch.arange(70), torch.ones(1, 2, dtype=torch.float64), [False])
    assert len(made) == 1 and min(made[0]) > 1000


class _Rank:
    """A worker among others that says which it is and exchanges nothing."""

    def __init__(self, rank: int, world: int) -> None:
        self.rank, self.world, self.in_graphs = rank, world, False
        self.sum_gradients, self.add_up, self.gather = ALONE.sum_gradients, ALONE.add_up, ALONE.gather
