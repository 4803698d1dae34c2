"""Trainings of networks on jets: what layers draw by themselves follows from seed and epoch, and is drawn in training alone; and
the captured step's numbers are those of the loop.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from models.jet_batches import LEVELS, SMALL, random_batch

from breakeven.models.backbone import Backbone
from breakeven.models.spec import NetworkSpec
from breakeven.training import checkpoint, feeds
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.loop import evaluate, train
from breakeven.training.recipe import Epoch, Recipe, Strategy
from breakeven.training.training import Training

RECIPE = Recipe(epochs=4, batch_size=8, learning_rate=1e-3, patience=None, ratio=0.3, head_epochs=2)
JETS = [(3, 5), (2,), (7, 1), (4, 4, 2)] * 8


def built(seed: int, representation: str = "V") -> Backbone:
    arguments = {**SMALL, "representation": representation, "dropout": 0.3}
    return NetworkSpec("jet_transformer", arguments).build(LEVELS, 1, seed)


@pytest.fixture
def events() -> tuple[EventTensors, Sample, Sample]:
    jets, offsets, inside, inner = random_batch(JETS, dtype=torch.float32)
    target = (torch.arange(len(JETS)) % 2).float()
    rows = torch.arange(len(JETS)).split([24, len(JETS) - 24])
    training, validation = (Sample(part, target[part]) for part in rows)
    return EventTensors(jets, offsets, ((inside, inner),), LEVELS), training, validation


def losses(curve: tuple[Epoch, ...]) -> list[tuple[float, float]]:
    return [(epoch.train_loss, epoch.validation_loss) for epoch in curve]


@pytest.mark.parametrize(
    ("strategy", "representation"), [("scratch", "jet"), ("scratch", "V"), ("finetune", "V"), ("frozen", "V")]
)
def test_a_resumed_training_draws_the_same_dropout(
    events: tuple[EventTensors, Sample, Sample], tmp_path: Path, strategy: str, representation: str
) -> None:
    """The first is a pretraining; all of them to the last bit, whatever torch's own generator has drawn before."""
    given = None if strategy == "scratch" else built(5, "jet").state_dict()
    whole, resumed = built(8, representation), built(10, representation)
    torch.manual_seed(1)
    expected = train(Training(whole, *events, RECIPE, Strategy(strategy), given))
    save = partial(checkpoint.write_state, tmp_path)
    torch.manual_seed(2)
    half = replace(RECIPE, epochs=2)
    train(Training(built(9, representation), *events, half, Strategy(strategy), given), save=save)
    torch.manual_seed(3)
    state = checkpoint.read_state(tmp_path)
    result = train(Training(resumed, *events, RECIPE, Strategy(strategy), given), resume_from=state)
    assert losses(result.curve) == losses(expected.curve)
    assert all(torch.equal(tensor, whole.state_dict()[name]) for name, tensor in resumed.state_dict().items())


def test_workers_draw_numbers_of_their_own(events: tuple[EventTensors, Sample, Sample]) -> None:
    training, drawn = Training(built(8), *events, RECIPE), []
    for epoch, rank in ((0, 0), (0, 1), (1, 0), (0, 0)):
        training.begin_epoch(epoch, rank)
        drawn.append(float(torch.rand(())))
    assert drawn[0] == drawn[3] and len(set(drawn)) == 3


def test_dropout_acts_in_steps_alone(events: tuple[EventTensors, Sample, Sample]) -> None:
    model = built(8)
    result = train(Training(model, *events, RECIPE))
    first, second = (evaluate(model, events[0], events[2], "binary") for _ in range(2))
    assert first == second and first["loss"] == pytest.approx(result.best.validation_loss, rel=1e-6)
    still = NetworkSpec("jet_transformer", {**SMALL, "representation": "V"}).build(LEVELS, 1, 8)
    assert losses(train(Training(still, *events, RECIPE)).curve)[0] != losses(result.curve)[0], "it does act"
    other = train(Training(built(8), *events, replace(RECIPE, epochs=1)))
    assert losses(other.curve) == losses(result.curve)[:1]


@pytest.mark.parametrize("representation", ["jet", "V", "S+HLF", "V+HLF"])
@pytest.mark.parametrize("strategy", ["scratch", "finetune"])
def test_a_captured_training_is_that_of_the_loop(
    events: tuple[EventTensors, Sample, Sample], representation: str, strategy: str
) -> None:
    arguments = {**SMALL, "representation": representation}
    given = NetworkSpec("jet_transformer", SMALL).build(LEVELS, 1, 5).double().state_dict()
    backbone = None if strategy == "scratch" else given
    models = [NetworkSpec("jet_transformer", arguments).build(LEVELS, 1, seed).double() for seed in (1, 2)]
    recipe = replace(RECIPE, epochs=3, batch_size=5, decay=0.5)
    curves = [
        train(Training(model, *events, recipe, Strategy(strategy), backbone), form=form).curve
        for model, form in zip(models, ("captured", "eager"), strict=True)
    ]
    for captured, expected in zip(*map(losses, curves), strict=True):
        assert captured == pytest.approx(expected, rel=1e-9)
    for name, tensor in models[0].state_dict().items():
        torch.testing.assert_close(tensor, models[1].state_dict()[name], rtol=1e-8, atol=1e-9, msg=name)


def test_jets_that_do_not_fit_on_the_device_give_the_same_bits(
    events: tuple[EventTensors, Sample, Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "WINDOW_BYTES", 8_000)  # two batches
    recipe = replace(RECIPE, epochs=2, batch_size=5)
    ours, theirs = (NetworkSpec("jet_transformer", {**SMALL, "representation": "V"}).build(LEVELS, 1, 1) for _ in "ab")
    curves = [
        train(Training(model, replace(events[0], onto=onto), *events[1:], recipe), form="captured").curve
        for model, onto in ((ours, None), (theirs, torch.device("cpu")))
    ]
    assert losses(curves[0]) == losses(curves[1])
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in ours.state_dict().items())


def test_dropout_is_not_captured(events: tuple[EventTensors, Sample, Sample]) -> None:
    with pytest.raises(ValueError, match="form is 'captured', which a JetNetwork with the strategy scratch has not"):
        train(Training(built(1), *events, RECIPE), form="captured")
