"""The loop: it learns, repeats itself exactly, resumes exactly, and says what is wrong."""

import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from breakeven.models import build
from breakeven.training import captured, checkpoint, eager, engines
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.checkpoint import TrainingState
from breakeven.training.loop import CannotResume, Form, evaluate, represent, train
from breakeven.training.nonfinite import NonFinite
from breakeven.training.recipe import Epoch, Recipe, Result, Strategy
from breakeven.training.training import Training

SMALL = Recipe(objective="multiclass", epochs=3, batch_size=16, learning_rate=1e-3, patience=None)

GOLDEN = {"train_loss": [1.161914, 0.984771, 0.948945], "validation_loss": [1.015323, 0.996825, 0.978277]}
"""Of SMALL on 100 synthetic events of three classes. If a change of numbers is meant, raise TRAINING_VERSION too."""


def samples(kind: torch.Tensor, n_train: int) -> tuple[Sample, Sample]:
    index = torch.arange(len(kind))
    return Sample(index[:n_train], kind[:n_train]), Sample(index[n_train:], kind[n_train:])


def without_times(curve: tuple[Epoch, ...]) -> list[Epoch]:
    return [replace(epoch, wall_seconds=0.0, device_seconds=0.0) for epoch in curve]


@pytest.fixture
def three_classes(make_events: Callable) -> tuple[EventTensors, Sample, Sample]:
    events, kind = make_events(100, n_classes=3)
    return events, *samples(kind, 70)


def test_golden_losses(three_classes: tuple[EventTensors, Sample, Sample]) -> None:
    result = train(Training(build(3, initialisation="torch"), *three_classes, SMALL))
    for name, expected in GOLDEN.items():
        losses = [getattr(epoch, name) for epoch in result.curve]
        assert losses == pytest.approx(expected, rel=2e-4), f"{name}: {losses}"


def test_it_learns_and_keeps_the_best_weights(make_events: Callable) -> None:
    events, kind = make_events(1500)
    training, validation = samples(kind, 1000)
    recipe = Recipe(epochs=10, batch_size=10, learning_rate=1e-4, patience=None)
    model, seen = build(1, iterations=2), []
    result = train(Training(model, events, training, validation, recipe, on_epoch=lambda epoch: seen.append(epoch)))
    assert tuple(seen) == result.curve
    assert result.best.validation_loss == min(epoch.validation_loss for epoch in result.curve)
    assert result.best.validation_accuracy > 0.7
    assert result.best.validation_auc > 0.8
    values = evaluate(model, events, validation, "binary")
    assert values["loss"] == pytest.approx(result.best.validation_loss, rel=1e-6)
    assert values["accuracy"] == result.best.validation_accuracy
    for before, after in zip(result.curve, result.curve[1:], strict=False):
        assert after.device_seconds > before.device_seconds
        assert after.events_seen == before.events_seen + 1000


def test_multilabel_trains_too(make_events: Callable) -> None:
    events, kind = make_events(200)
    labels = torch.stack([kind.float() * 2.0, kind.float(), 1.0 - kind.float()], dim=1)
    labels = torch.cat([torch.zeros(200, 4), labels], dim=1).to(torch.uint8)
    recipe = Recipe(objective="multilabel", epochs=6, batch_size=20, learning_rate=3e-4, patience=None)
    model = build(7)
    training = Sample(torch.arange(150), labels[:150])
    validation = Sample(torch.arange(150, 200), labels[150:])
    result = train(Training(model, events, training, validation, recipe))
    assert result.curve[-1].train_loss < 0.7 * result.curve[0].train_loss
    assert 0.0 <= result.best.validation_accuracy <= 1.0


def test_the_same_recipe_gives_the_same_bits_whatever_the_model_held(
    three_classes: tuple[EventTensors, Sample, Sample],
) -> None:
    first, second = build(3, seed=1), build(3, seed=2)
    results = [train(Training(model, *three_classes, SMALL)) for model in (first, second)]
    assert without_times(results[0].curve) == without_times(results[1].curve)
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())
    other = train(Training(build(3), *three_classes, replace(SMALL, seed=1)))
    assert without_times(other.curve) != without_times(results[0].curve)


@pytest.mark.parametrize("strategy", [Strategy(), Strategy("finetune"), Strategy("frozen")], ids=str)
def test_a_resumed_training_is_bit_equal_to_one_in_a_single_piece(
    three_classes: tuple[EventTensors, Sample, Sample], tmp_path: Path, strategy: Strategy
) -> None:
    backbone = None if strategy.name == "scratch" else pretrained(three_classes)
    recipe = replace(SMALL, epochs=4, ratio=0.3)
    whole = build(3, seed=8)
    expected = train(Training(whole, *three_classes, recipe, strategy=strategy, backbone=backbone))

    save = partial(checkpoint.write_state, tmp_path)
    half = replace(recipe, epochs=2)
    train(Training(build(3, seed=9), *three_classes, half, strategy=strategy, backbone=backbone), save=save)
    state, resumed = checkpoint.read_state(tmp_path), build(3, seed=10)
    result = train(Training(resumed, *three_classes, recipe, strategy=strategy, backbone=backbone), resume_from=state)

    assert without_times(result.curve) == without_times(expected.curve)
    assert (result.best_epoch, result.plateau_epoch, result.stopped) == (
        expected.best_epoch, expected.plateau_epoch, expected.stopped,
    )  # fmt: skip
    assert all(torch.equal(tensor, whole.state_dict()[name]) for name, tensor in resumed.state_dict().items())
    assert result.curve[2].device_seconds > state.curve[1].device_seconds


@pytest.mark.parametrize("form", ["eager", "captured"])
def test_a_training_resumed_within_an_epoch_is_bit_equal_to_one_in_a_single_piece(
    three_classes: tuple[EventTensors, Sample, Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Form
) -> None:
    monkeypatch.setattr(eager, "BATCHES_BETWEEN_PAUSES", 2)
    monkeypatch.setattr(eager, "_BATCHES_BETWEEN_CHECKS", 4)  # no multiple of the pieces that are resumed
    monkeypatch.setattr(captured, "STEPS_BETWEEN_PAUSES", 2)
    recipe = replace(SMALL, epochs=2, batch_size=4)
    whole, asked = build(3, seed=8), 0
    expected = train(Training(whole, *three_classes, recipe), form=form)

    def third() -> bool:
        nonlocal asked
        asked += 1
        return asked % 3 == 0

    states: list[TrainingState] = []
    model = build(3, seed=9)
    paused = train(Training(model, *three_classes, recipe), form=form, save=states.append, due=third)
    assert without_times(paused.curve) == without_times(expected.curve)
    within = [state for state in states if state.partial]
    assert len(within) == 5
    assert {len(state.curve) for state in within} == {0, 1}
    for state in (within[1], within[-1]):
        checkpoint.write_state(tmp_path, state)
        back, resumed = checkpoint.read_state(tmp_path), build(3, seed=10)
        result = train(Training(resumed, *three_classes, recipe), form=form, resume_from=back)
        assert without_times(result.curve) == without_times(expected.curve)
        assert all(torch.equal(tensor, whole.state_dict()[name]) for name, tensor in resumed.state_dict().items())
        assert result.curve[-1].device_seconds > state.seconds[1] > sum(e.device_seconds for e in state.curve[-1:])


def test_resuming_a_finished_training_only_gives_its_result_again(
    three_classes: tuple[EventTensors, Sample, Sample],
) -> None:
    states: list[TrainingState] = []
    recipe = replace(SMALL, epochs=6, patience=1, min_delta=0.9)
    expected = train(Training(build(3), *three_classes, recipe), save=states.append)
    assert (expected.stopped, expected.plateau_epoch, len(expected.curve)) == ("plateau", 0, 2)
    again = train(Training(build(3), *three_classes, recipe), resume_from=states[-1])
    assert again == expected


def test_another_recipe_cannot_be_resumed(three_classes: tuple[EventTensors, Sample, Sample]) -> None:
    states: list[TrainingState] = []
    train(Training(build(3), *three_classes, replace(SMALL, epochs=1)), save=states.append)
    with pytest.raises(CannotResume, match=r"learning_rate was 0\.001, is 0\.1; seed was 0, is 4"):
        train(Training(build(3), *three_classes, replace(SMALL, learning_rate=0.1, seed=4)), resume_from=states[0])


def test_on_epoch_may_end_a_training(three_classes: tuple[EventTensors, Sample, Sample]) -> None:
    result = train(Training(build(3), *three_classes, SMALL, on_epoch=lambda epoch: epoch.epoch == 1))
    assert (len(result.curve), result.stopped, result.plateau_epoch) == (2, "asked", None)


def test_a_frozen_backbone_stays_and_equals_training_through_the_network(
    three_classes: tuple[EventTensors, Sample, Sample],
) -> None:
    backbone = pretrained(three_classes)
    model = build(3)
    result = train(Training(model, *three_classes, SMALL, strategy=Strategy("frozen"), backbone=backbone))
    for name, tensor in model.state_dict().items():
        assert name.startswith("head.") or torch.equal(tensor, backbone[name])
    # The cached features must give what the whole network gives.
    values = evaluate(model, three_classes[0], three_classes[2], "multiclass")
    assert values["loss"] == pytest.approx(result.best.validation_loss, rel=1e-5)
    assert result.curve[-1].train_loss < result.curve[0].train_loss


def test_new_layers_learn_alone_before_finetuning(three_classes: tuple[EventTensors, Sample, Sample]) -> None:
    """With a backbone whose rate is next to nothing, one more epoch after the head's is what is left of finetuning."""
    backbone, model, head = pretrained(three_classes), build(3), build(3)
    alone = train(
        Training(head, *three_classes, replace(SMALL, epochs=4), strategy=Strategy("frozen"), backbone=backbone)
    )
    recipe = replace(SMALL, epochs=1, head_epochs=4, learning_rate=1e-12)
    cold = train(Training(build(3), *three_classes, replace(recipe, head_epochs=0), Strategy("finetune"), backbone))
    frozen_rate = replace(recipe, learning_rate=SMALL.learning_rate, ratio=1e-12)
    warm = train(Training(model, *three_classes, frozen_rate, Strategy("finetune"), backbone))
    assert warm.curve[0].train_loss < cold.curve[0].train_loss
    assert warm.curve[0].train_loss == pytest.approx(alone.best.train_loss, rel=0.05)
    assert len(warm.curve) == 1 and warm.curve[0].device_seconds > 0
    assert all(parameter.requires_grad for parameter in model.parameters())
    states: list[TrainingState] = []
    whole = train(
        Training(build(3), *three_classes, replace(frozen_rate, epochs=3), Strategy("finetune"), backbone),
        save=states.append,
    )
    resumed = train(
        Training(build(3), *three_classes, replace(frozen_rate, epochs=3), Strategy("finetune"), backbone),
        resume_from=states[0],
    )
    assert without_times(whole.curve) == without_times(resumed.curve), (
        "what the head has learnt is in the saved weights"
    )


def test_represent_gives_every_layer_up_to_what_the_head_sees(
    three_classes: tuple[EventTensors, Sample, Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    events, training, _ = three_classes
    model = build(3)
    index = training.index[[5, 3, 60]]
    monkeypatch.setattr(engines, "_AT_ONCE_ON_CPU", 2)
    layers = represent(model, events, index)
    assert list(layers) == ["encoder", "block 1", "block 2", "block 3", "block 4", "decoder"]
    assert all(layer.shape == (3, 64) and not layer.requires_grad for layer in layers.values())
    torch.testing.assert_close(model.head(layers["decoder"]), model(*events.gather(index)))
    torch.testing.assert_close(layers["block 4"], model.pool(*events.gather(index)))
    alone = represent(model, events, index[:1])
    torch.testing.assert_close(layers["encoder"][:1], alone["encoder"])  # a mean over its own objects only


def test_a_feature_that_is_not_finite_is_named(three_classes: tuple[EventTensors, Sample, Sample]) -> None:
    events, training, validation = three_classes
    broken = EventTensors(events.nodes.clone(), events.offsets)
    broken.nodes[int(events.offsets[40]), 2] = math.nan
    with pytest.raises(NonFinite, match="event 40 has phi = nan") as error:
        train(Training(build(3), broken, training, validation, SMALL))
    assert (error.value.epoch, error.value.batch) == (0, None)
    with pytest.raises(NonFinite, match=r"epoch 0, batch \d: .* event 40 has phi = nan") as error:
        backbone = pretrained(three_classes)
        train(Training(build(3), broken, training, validation, SMALL, strategy=Strategy("finetune"), backbone=backbone))
    assert error.value.batch is not None
    broken = EventTensors(events.nodes.clone(), events.offsets)
    broken.nodes[int(events.offsets[80]), 0] = math.inf
    with pytest.raises(NonFinite, match=r"validation loss is nan: event 80 has pt = inf"):
        train(Training(build(3), broken, training, validation, SMALL))
    back = pickle.loads(pickle.dumps(error.value))
    assert (str(back), back.epoch, back.batch) == (str(error.value), error.value.epoch, error.value.batch)


def test_a_diverged_training_points_at_the_learning_rate(
    three_classes: tuple[EventTensors, Sample, Sample],
) -> None:
    with pytest.raises(NonFinite, match="lower the learning rate"):
        train(Training(build(3), *three_classes, replace(SMALL, learning_rate=1e38)))


def test_senseless_samples_are_refused(three_classes: tuple[EventTensors, Sample, Sample]) -> None:
    events, training, validation = three_classes
    empty = Sample(training.index[:0], training.target[:0])
    with pytest.raises(ValueError, match="training sample is empty"):
        train(Training(build(3), events, empty, validation, SMALL))
    with pytest.raises(ValueError, match="validation sample asks for the events 70 to 100, there are 100"):
        train(Training(build(3), events, training, replace(validation, index=validation.index.where(
            validation.index < 99, 100)), SMALL))  # fmt: skip
    with pytest.raises(ValueError, match="training sample: multiclass targets"):
        train(Training(build(3), events, replace(training, target=training.target + 1), validation, SMALL))
    with pytest.raises(ValueError, match="binary objective needs a model with 1 output, this one has 3"):
        evaluate(build(3), events, validation, "binary")


@pytest.mark.parametrize("n_train", [1, 16, 17])
def test_sizes_that_do_not_divide_by_the_batch(make_events: Callable, n_train: int) -> None:
    events, kind = make_events(n_train + 5, n_classes=3)
    result = train(Training(build(3), events, *samples(kind, n_train), SMALL))
    assert [epoch.events_seen for epoch in result.curve] == [n_train, 2 * n_train, 3 * n_train]
    assert all(math.isfinite(epoch.train_loss) for epoch in result.curve)


@pytest.mark.parametrize("counts", [(1, 1, 1, 1, 1), (60, 1, 2, 1, 3), (2, 1, 1, 1, 60)], ids=str)
@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
def test_odd_events_and_batches_train_as_in_the_reference(counts: tuple[int, ...], batch_size: int) -> None:
    """Events without edges and of 60 objects, batches of one event, last batches that are not full."""
    generator = torch.Generator().manual_seed(3)
    nodes = 1.0 + 50.0 * torch.rand(2 * sum(counts), 7, generator=generator)
    events = EventTensors(nodes, torch.tensor([0, *counts, *counts]).cumsum(0))
    sample = Sample(torch.arange(5), torch.tensor([0, 1, 2, 1, 0])), Sample(torch.arange(5, 10), torch.arange(5) % 3)
    recipe = replace(SMALL, epochs=2, batch_size=batch_size, evaluation_batch_size=2)
    exact, reference = (
        train(Training(build(3, engine, iterations=2).double(), events, *sample, recipe))
        for engine in ("native", "dgl")
    )
    fast = train(Training(build(3, iterations=2), events, *sample, recipe))
    for epoch, wanted, single in zip(exact.curve, reference.curve, fast.curve, strict=True):
        assert epoch.train_loss == pytest.approx(wanted.train_loss, rel=1e-7)
        assert epoch.validation_loss == pytest.approx(wanted.validation_loss, rel=1e-7)
        assert single.train_loss == pytest.approx(wanted.train_loss, rel=5e-3)
        assert epoch.events_seen == wanted.events_seen == single.events_seen


def test_bfloat16_steps_stay_close_and_evaluation_is_in_float32(
    three_classes: tuple[EventTensors, Sample, Sample],
) -> None:
    recipe = replace(SMALL, epochs=2, precision="bfloat16")
    model = build(3)
    rounded = train(Training(model, *three_classes, recipe))
    expected = train(Training(build(3), *three_classes, replace(recipe, precision="float32")))
    for epoch, wanted in zip(rounded.curve, expected.curve, strict=True):
        assert epoch.train_loss != wanted.train_loss
        assert epoch.train_loss == pytest.approx(wanted.train_loss, rel=0.03)
    assert model.head.weight.dtype is torch.float32
    again = evaluate(model, three_classes[0], three_classes[2], "multiclass")
    assert again["loss"] == pytest.approx(rounded.best.validation_loss, rel=1e-6)


def test_native_and_dgl_train_alike(three_classes: tuple[EventTensors, Sample, Sample]) -> None:
    results: list[Result] = []
    for engine in ("native", "dgl"):
        results.append(train(Training(build(3, engine).double(), *three_classes, replace(SMALL, epochs=1))))
    native, reference = (result.curve[0] for result in results)
    assert native.train_loss == pytest.approx(reference.train_loss, rel=1e-7)
    assert native.validation_loss == pytest.approx(reference.validation_loss, rel=1e-7)


def pretrained(data: tuple[EventTensors, Sample, Sample]) -> dict[str, torch.Tensor]:
    model = build(3, seed=21)
    train(Training(model, *data, replace(SMALL, epochs=1, seed=21)))
    return dict(model.state_dict())
