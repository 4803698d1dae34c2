"""The networks on jets: what their heads see, which weights they take over, and what they refuse."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from models.jet_batches import LEVELS, SMALL, Batch, random_batch
from torch import Tensor

from breakeven.feature import OBJECT
from breakeven.models.jet_inputs import JetInputs
from breakeven.models.jet_network import REPRESENTATIONS, JetNetwork
from breakeven.models.ragged import parents_of, sums
from breakeven.models.spec import NetworkSpec, version_of
from breakeven.models.weights import WeightsDoNotFit, load_weights
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.checkpoint import read_model, write_model
from breakeven.training.engines import in_batches
from breakeven.training.loop import evaluate, train
from breakeven.training.probe import listening, quality_of_probe
from breakeven.training.recipe import Recipe
from breakeven.training.training import Training

EVENTS = [(20, 31, 4), (9,), (12, 40, 0, 8, 15, 33, 2), (3, 3)]


def built(representation: str = "jet", n_outputs: int = 1, seed: int = 0, **changed: Any) -> JetNetwork:
    arguments = {**SMALL, "representation": representation, **changed}
    return cast(JetNetwork, NetworkSpec("jet_transformer", arguments).build(LEVELS, n_outputs, seed))


def event(batch: Batch, number: int, most: int | None = None) -> Batch:
    """One event of a batch, or its leading jets."""
    jets, offsets, inside, inner = batch
    first, last = int(offsets[number]), int(offsets[number + 1])
    last = last if most is None else min(last, first + most)
    rows = slice(int(inner[first]), int(inner[last]))
    return jets[first:last], torch.tensor([0, last - first]), inside[rows], inner[first : last + 1] - inner[first]


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_an_event_is_known_by_its_leading_jets_alone(representation: str) -> None:
    model = built(representation, 3).double()
    batch = random_batch(EVENTS)
    model.fit_scaling([batch])
    outputs = model(*batch)
    assert outputs.shape == (4, 3)
    most = 1 if representation == "jet" else 5
    for number in range(4):
        torch.testing.assert_close(model(*event(batch, number)), outputs[number : number + 1], rtol=1e-12, atol=1e-12)
        alone = model(*event(batch, number, most))
        torch.testing.assert_close(alone, outputs[number : number + 1], rtol=1e-12, atol=1e-12)
    fewer = model(*event(batch, 2, most - 1)) - outputs[2:3]
    assert float(fewer.detach().abs().max()) > 1e-9


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_a_jet_may_be_known_by_its_hardest_constituents_alone(representation: str) -> None:
    jets, offsets, constituents, inside = random_batch(EVENTS)
    counts = inside.diff()
    assert int(counts.max()) > 6
    hardest = torch.cat([constituents[int(a) : int(a) + min(int(n), 6)] for a, n in zip(inside, counts, strict=False)])
    cut = (jets, offsets, hardest, torch.cat([inside[:1], counts.clamp(max=6).cumsum(0)]))
    of_six, of_all = (built(representation, 3, constituents=most).double() for most in (6, 0))
    for model in (of_six, of_all):
        model.fit_scaling([cut])
    torch.testing.assert_close(of_six(jets, offsets, constituents, inside), of_all(*cut), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(of_six(*cut), of_all(*cut), rtol=0, atol=0)
    assert of_six.config()["constituents"] == 6


@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("events", [[()], [(), ()], [(0,)], [(1,)], [(500, 2), ()], []], ids=str)
def test_events_of_no_jets_and_jets_of_any_size_are_finite(representation: str, events: list[tuple[int, ...]]) -> None:
    model = built(representation, 2)
    batch = random_batch(events, dtype=torch.float32)
    outputs = model(*batch)
    assert outputs.shape == (len(events), 2) and bool(torch.isfinite(outputs).all())
    outputs.square().sum().backward()
    assert all(bool(torch.isfinite(one.grad).all()) for one in model.parameters() if one.grad is not None)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_a_track_without_error_makes_nothing_infinite(representation: str) -> None:
    """Infinite significance: d0 and dz that are not zero, with errors that are."""
    model = built(representation)
    jets, offsets, inside, inner = random_batch(EVENTS, dtype=torch.float32)
    inside[:, [4, 6]] = 0.0
    inside[0, [3, 5]] = torch.tensor([3e38, -3e38])
    model.fit_scaling([(jets, offsets, inside, inner)])
    assert bool(torch.isfinite(model(jets, offsets, inside, inner)).all())


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_a_gradient_reaches_every_weight(representation: str) -> None:
    model = built(representation, 2).double()
    batch = random_batch(EVENTS)
    model.fit_scaling([batch])
    model(*batch).square().sum().backward()
    silent = [name for name, one in model.named_parameters() if one.grad is None or not bool(one.grad.any())]
    assert silent == []


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_layers_end_with_what_the_head_sees(representation: str) -> None:
    model = built(representation).double()
    batch = random_batch(EVENTS)
    layers = model.layers(*batch)
    assert list(layers) == (["jets"] if representation == "jet" else ["jets", "event"])
    assert torch.equal(list(layers.values())[-1], model.represent(*batch))
    assert torch.equal(model.head(model.represent(*batch)), model(*batch))
    jets, _, inside, inner = batch
    first = model.vectors(jets, inside, inner)
    one = model.layers(*event(batch, 3))["jets"]
    torch.testing.assert_close(
        one[0], first[11] if representation == "jet" else first[11:].sum(0), rtol=1e-12, atol=1e-12
    )


def test_the_event_networks_are_those_of_the_paper() -> None:
    """Written out: layers for each jet, the sum, layers for the event."""
    batch = random_batch([(5, 9), (7,)])
    jets, _, inside, inner = batch

    def three(x: Tensor, state: Mapping[str, Tensor], place: str) -> Tensor:
        for number in (0, 2, 4):
            x = (x @ state[f"{place}.{number}.weight"].T + state[f"{place}.{number}.bias"]).clamp(min=0)
        return x

    raw = torch.stack([jets[:, 0].log(), jets[:, 1], jets[:, 2], jets[:, 3].log(), jets[:, 4].log()], dim=1)
    for representation in ("V", "S+HLF", "V+HLF"):
        model = built(representation, 2).double()
        model.fit_scaling([batch])
        state = model.state_dict()
        known = model.vectors(jets, inside, inner).detach()
        if representation == "S+HLF":
            known = 1 / (1 + (-(known @ state["scalar.weight"].T + state["scalar.bias"])).exp())
        if representation != "V":
            known = torch.cat([known, (raw - raw.mean(0)) / raw.std(0, correction=0)], dim=1)
            known = three(known, state, "event.per_jet")
        of_events = three(torch.stack([known[:2].sum(0), known[2]]), state, "event.whole")
        outputs = of_events @ state["head.weight"].T + state["head.bias"]
        torch.testing.assert_close(model(*batch).detach(), outputs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_the_network_is_built_again_from_its_config_and_from_disk(representation: str, tmp_path: Path) -> None:
    model = built(representation, 2, seed=5, feed_forward=2, pairs=[8, 6])
    batch = random_batch(EVENTS, dtype=torch.float32)
    model.fit_scaling([batch])
    arguments = json.loads(json.dumps(model.config()))
    again = JetNetwork(LEVELS, **arguments)
    assert again.config() == model.config() and again.representation == representation
    load_weights(again, model.state_dict(), source="the model")
    write_model(tmp_path / "model", model)
    for other in (again, read_model(tmp_path / "model")):
        assert torch.equal(other(*batch), model(*batch))


def test_a_studys_options_are_numbers() -> None:
    model = built(width=16.0, heads=2.0, pairs=4.0, dropout=0.0)
    assert model.config() == {**built(width=16, heads=2, pairs=[4]).config()}
    assert version_of("jet_transformer") == "1"


def test_weights_follow_from_the_seed() -> None:
    first, same, other = (built("S+HLF", seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(tensor, same[name]) for name, tensor in first.items())
    changed = {name.split(".")[0] for name, tensor in first.items() if not torch.equal(tensor, other[name])}
    assert changed == {"jets", "scalar", "event", "head"}


@pytest.mark.parametrize(("representation", "new"), [("jet", ("head.",)), ("V", ("head.", "event."))])
@pytest.mark.parametrize("n_classes", [1, 10])
def test_vectors_take_over_a_pretrained_backbone(representation: str, new: tuple[str, ...], n_classes: int) -> None:
    batch = random_batch(EVENTS)
    pretrained = built("jet", n_classes, seed=1).double()
    pretrained.fit_scaling([batch])
    model = built(representation, 1, seed=2).double()
    weights = model.from_pretrained(pretrained.state_dict())
    load_weights(model, weights, source="the backbone", skip=model.new_layers)
    assert model.new_layers == new
    jets, _, inside, inner = batch
    assert torch.equal(model.vectors(jets, inside, inner), pretrained.vectors(jets, inside, inner))


def test_a_scalar_is_the_pretrained_score_through_a_sigmoid() -> None:
    batch = random_batch(EVENTS)
    jets, _, inside, inner = batch
    pretrained = built("jet", 1, seed=1).double()
    pretrained.fit_scaling([batch])
    model = built("S+HLF", 1, seed=2).double()
    weights = model.from_pretrained(pretrained.state_dict())
    load_weights(model, weights, source="the backbone", skip=model.new_layers)
    assert model.new_layers == ("head.", "event.")
    one_by_one = jets, torch.arange(len(jets) + 1), inside, inner
    assert torch.equal(model.scalar(model.vectors(jets, inside, inner)), pretrained(*one_by_one))
    # and an event network's own weights go into another of its kind
    other = built("S+HLF", 1, seed=3).double()
    load_weights(other, other.from_pretrained(model.state_dict()), source="the model")
    assert torch.equal(other(*batch), model(*batch))


def test_a_scalar_is_new_where_the_pretraining_had_classes() -> None:
    pretrained, model = built("jet", 10, seed=1), built("S+HLF", 1, seed=2)
    before = model.scalar.weight.detach().clone()
    weights = model.from_pretrained(pretrained.state_dict())
    assert model.new_layers == ("head.", "event.", "scalar.")
    load_weights(model, weights, source="the backbone", skip=model.new_layers)
    assert torch.equal(model.scalar.weight, before)
    assert torch.equal(model.jets.class_token, pretrained.jets.class_token)


def test_weights_of_another_architecture_are_listed_and_change_nothing() -> None:
    model = built("V+HLF")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = model.from_pretrained(built("jet", 1, width=16, blocks=3).state_dict())
    with pytest.raises(WeightsDoNotFit) as error:
        load_weights(model, weights, source="the backbone", skip=model.new_layers)
    for part in (
        "shape: jets.class_token is [16], the model has [32]",
        "unexpected: jets.blocks.2.fc1.weight [64, 16]",
    ):
        assert part in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_scaling_standardises_constituents_pairs_and_jets() -> None:
    model = built("V+HLF").double()
    batches = [random_batch(EVENTS, seed=1), random_batch([(6, 2)] * 30, seed=2)]
    model.fit_scaling(batches)
    leading = [event(batch, number, 5) for batch in batches for number in range(len(batch[1]) - 1)]
    inputs = JetInputs(LEVELS)
    features = torch.cat(
        [inputs.constituents(jets, inside, parents_of(inner))[0] for jets, _, inside, inner in leading]
    )
    scaled = features * model.jets.feature_scale + model.jets.feature_shift
    torch.testing.assert_close(scaled.mean(0), torch.zeros(17, dtype=torch.float64), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(17, dtype=torch.float64), atol=1e-5, rtol=0)
    assert not torch.equal(model.jets.pair_scale, torch.ones(4, dtype=torch.float64))
    assert bool((model.event.std != 1).all())


def test_what_pretrained_weights_do_not_bring_is_measured_alone() -> None:
    model, batch = built("S+HLF").double(), random_batch(EVENTS)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.fit_new_scaling([batch])
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"event.mean", "event.std"}
    whole = built("S+HLF").double()
    whole.fit_scaling([batch])
    assert torch.equal(whole.event.mean, model.event.mean)


def test_scaling_of_many_jets_uses_some_and_of_empty_ones_none() -> None:
    model = built("jet")
    model.fit_scaling([random_batch([(2,)] * 2500, dtype=torch.float32)])
    assert bool((model.jets.pair_scale != 1).all())
    empty = built("jet")
    empty.fit_scaling([random_batch([(0,), (0,)], dtype=torch.float32)])
    assert bool(torch.isfinite(empty(*random_batch([(4,)], dtype=torch.float32))).all())


def test_scaling_refuses_nothing_and_the_not_finite() -> None:
    with pytest.raises(ValueError, match="there are none; give the training events"):
        built("V").fit_scaling([])
    jets, offsets, inside, inner = random_batch(EVENTS)
    inside[3, 4] = math.inf
    with pytest.raises(ValueError, match="a constituent feature of these events is not finite"):
        built("V").fit_scaling([(jets, offsets, inside, inner)])


def test_other_events_and_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="takes events of jets with constituents, these have pt, eta, phi, energy"):
        NetworkSpec("jet_transformer").build((OBJECT,), 1)
    for changed, message in (
        ({"representation": "S"}, "representation is 'S'; choose one of jet, V, S.HLF, V.HLF"),
        ({"heads": 5}, "width is 32 and heads is 5; the width must be a multiple"),
        ({"blocks": 0}, "blocks is 0; it must be at least 1"),
        ({"pairs": [8, 0]}, r"pairs\[1\] is 0"),
        ({"dropout": 1}, "dropout is 1; it must be at least 0 and below 1"),
    ):
        with pytest.raises(ValueError, match=message):
            built(**cast(Any, changed))


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_every_representation_trains(representation: str) -> None:
    """Events whose label is whether the first jet has displaced tracks: a few epochs tell them apart."""
    jets, offsets, inside, inner = random_batch([(8, 6)] * 96, dtype=torch.float32)
    label = (torch.arange(96) % 2).float()
    first = torch.repeat_interleave(torch.arange(192), inner.diff()) % 2 == 0
    inside[:, 3] = torch.where(first & (label.repeat_interleave(14) == 1), 1.5, 0.0)
    events = EventTensors(jets, offsets, ((inside, inner),), LEVELS)
    sample = Sample(torch.arange(96), label)
    recipe = Recipe(epochs=12, batch_size=16, learning_rate=3e-3, patience=None)
    model = built(representation, seed=1)
    train(Training(model, events, sample, sample, recipe))
    assert evaluate(model, events, sample, "binary")["accuracy"] > 0.9


def test_sums_over_parents() -> None:
    values = torch.tensor([[1.0], [2.0], [4.0]])
    assert sums(values, torch.tensor([0, 2, 2, 3])).tolist() == [[3.0], [0.0], [4.0]]


def test_new_layers_are_drawn_from_numbers_of_their_own() -> None:
    model = built("V")
    model.draw_new_weights(3)
    head, first = model.head.weight.flatten(), model.event.whole[0].weight.flatten()
    n = min(len(head), len(first))
    assert not torch.allclose(head[:n] / head[0], first[:n] / first[0])
    other = built("V")
    other.draw_new_weights(3)
    assert all(
        torch.equal(one, two) for one, two in zip(model.event.parameters(), other.event.parameters(), strict=True)
    )


@pytest.mark.parametrize("representation", ["jet", "V", "S+HLF", "V+HLF"])
def test_what_is_kept_of_a_frozen_backbone_is_all_that_new_layers_need(representation: str) -> None:
    """Events of one to seven jets, of which five count, one without any, jets without constituents."""
    model, batch = built(representation).double(), random_batch([(5, 0), (4,), (), (3, 2, 2, 9, 1, 6, 2)])
    embedding = model.embed(model.pretrained(*batch), *batch)
    torch.testing.assert_close(model.solve(embedding), model(*batch), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model.solve(embedding[[3, 0]]), model(*batch)[[3, 0]], rtol=1e-12, atol=1e-12)
    assert embedding.shape[0] == 4
    if representation != "jet":
        kept = built("V").double().pretrained(*batch)
        assert torch.equal(kept, model.pretrained(*batch)), "one array serves all networks of events on a backbone"


def test_a_probe_is_heard_jet_by_jet_and_only_within() -> None:
    """The scalar of the leading jets of the events that are asked for, held against the labels of those jets."""
    batch = random_batch([(4, 2), (), (3, 5, 0, 2, 2), (6,)], dtype=torch.float32)
    model = built("S+HLF", seed=3)
    model.fit_scaling([batch])
    jets, offsets, inside, inner = batch
    scalars = model.scalar(model.vectors(jets, inside, inner)).detach()[:, 0]
    order = scalars.argsort()
    truth = torch.zeros(8, dtype=torch.uint8)
    truth[order[-3:]] = 1
    events = EventTensors(jets, offsets, ((inside, inner),), LEVELS, truth)
    index = torch.tensor([3, 2, 0])
    with listening(model) as heard:
        in_batches(model, events, index)
    torch.testing.assert_close(torch.cat(heard)[:, 0], scalars[[7, 2, 3, 4, 5, 6, 0, 1]])
    assert quality_of_probe(heard, events, index) == {"probe_auc": 1.0}, "fewer than ten jets pass: no rejection"
    turned = replace(events, truth=1 - truth)
    assert quality_of_probe(heard, turned, index) == {"probe_auc": 0.0}
    model(*batch)
    assert len(heard) == 1, "it was heard after the end"
    assert quality_of_probe([], events, index) == {} == quality_of_probe(heard, replace(events, truth=truth[:0]), index)
    with listening(built("V")) as nothing:
        built("V")(*batch)
    assert nothing == []


def test_a_turned_probe_rejects_as_its_other_sign_does() -> None:
    logits = torch.linspace(-3, 3, 200)[:, None]
    truth = (torch.arange(200) > 120).to(torch.uint8)
    truth[::7] = 1 - truth[::7]
    none = torch.zeros(200, 0)
    events = EventTensors(none, torch.arange(201), (), LEVELS, truth)
    upright = quality_of_probe([logits], events, torch.arange(200))
    turned = quality_of_probe([-logits], events, torch.arange(200))
    assert upright["probe_auc"] == pytest.approx(1.0 - turned["probe_auc"]) and upright["probe_auc"] > 0.7
    assert upright["probe_rejection_90"] == turned["probe_rejection_90"] > 1.0


def test_a_new_scalar_learns_on_a_frozen_backbone() -> None:
    """That of a backbone of ten classes: what is kept of it are vectors, and the scalar is computed of them anew."""
    pretrained, model = built("jet", 10, seed=1).double(), built("S+HLF", seed=2).double()
    load_weights(model, model.from_pretrained(pretrained.state_dict()), source="the backbone", skip=model.new_layers)
    batch = random_batch([(5, 0), (4,), (), (3, 2, 2, 9, 1, 6, 2)])
    embedding = model.embed(model.pretrained(*batch), *batch)
    assert embedding.shape[2] == SMALL["width"] + 5 + 1
    torch.testing.assert_close(model.solve(embedding), model(*batch), rtol=1e-12, atol=1e-12)
    model.solve(embedding.detach()).sum().backward()
    assert bool(model.scalar.weight.grad.any())
