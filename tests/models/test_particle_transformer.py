"""The flat Particle Transformer against weaver-core's, and what a jet's vector must not depend on."""

import math
from typing import Any

import pytest
import torch
from models.jet_batches import LEVELS, PUBLISHED, SMALL, Batch, random_batch, weaver_model
from torch import Tensor, nn

from breakeven.models import particle_transformer
from breakeven.models.jet_inputs import JetInputs
from breakeven.models.layers import initialise
from breakeven.models.particle_transformer import ParticleTransformer
from breakeven.models.published_jets import by_our_names
from breakeven.models.ragged import parents_of
from breakeven.models.weights import load_weights

LENGTHS = (37, 1, 100, 20, 64, 3, 2)


def inputs_of(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    jets, _, inside, offsets = batch
    return *JetInputs(LEVELS).constituents(jets, inside, parents_of(offsets)), offsets


def padded(values: Tensor, offsets: Tensor) -> Tensor:
    """[n, width] -> [n_jets, width, longest]"""
    return nn.utils.rnn.pad_sequence([*values.tensor_split(offsets[1:-1])], batch_first=True).transpose(1, 2)


def drawn(seed: int = 0, **size: Any) -> ParticleTransformer:
    model = ParticleTransformer(**{**SMALL, **size})
    initialise(model, seed)
    return model


@pytest.mark.parametrize("size", [SMALL, PUBLISHED], ids=["small", "published"])
def test_it_is_weaver_cores_weight_for_weight_in_outputs_and_gradients(size: dict[str, Any]) -> None:
    theirs = weaver_model(size, 1)
    theirs.fc = None  # the class token itself
    ours = ParticleTransformer(**size).double()
    mapped = {name.removeprefix("jets."): tensor for name, tensor in by_our_names(theirs.state_dict()).items()}
    load_weights(ours, mapped, source="weaver-core")
    features, moving, offsets = inputs_of(random_batch([LENGTHS]))
    mask = padded(torch.ones(len(features), 1, dtype=torch.float64), offsets)
    expected = theirs(padded(features, offsets), v=padded(moving[:, 3:], offsets), mask=mask)
    vectors = ours(features, moving, offsets)
    torch.testing.assert_close(vectors, expected, rtol=1e-12, atol=1e-12)

    weights = torch.linspace(-1.0, 2.0, vectors.numel(), dtype=torch.float64).view_as(vectors)
    for result in (vectors, expected):
        (result * weights + result.square()).sum().backward()
    batch_norm = ("input_bn", "pair_embed.embed.0.")
    gradients = {name: one.grad for name, one in theirs.named_parameters() if not any(map(name.count, batch_norm))}
    wanted = {name.removeprefix("jets."): one for name, one in by_our_names(gradients).items()}
    compared = set()
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None
        if name.startswith("pair_embed."):
            number, part = int(name.split(".")[1]) // 2 * 3 + 1, name.rpartition(".")[2]
            place = f"pair_embed.embed.{number + 1}"
            scale = theirs.state_dict()[f"{place}.weight"] / (theirs.state_dict()[f"{place}.running_var"] + 1e-5).sqrt()
            own = parameter.grad * scale.view(-1, *[1] * (parameter.dim() - 1))
            other = gradients[f"pair_embed.embed.{number}.{part}"].view_as(own)
        else:
            own, other = parameter.grad, wanted[name]
        size_of = max(1.0, float(other.abs().max()))
        assert float((own - other).abs().max()) <= 1e-12 * size_of, name
        assert bool(own.any()) or name.endswith("in_proj.bias"), f"no gradient reaches {name}"
        compared.add(name)
    assert compared == {name for name, _ in ours.named_parameters()} and len(compared) > 40


def test_the_published_size_has_the_published_number_of_parameters() -> None:
    """2,142,196 of weaver-core, less the 442 of its batch normalisation."""
    assert sum(parameter.numel() for parameter in ParticleTransformer().parameters()) == 2_142_196 - 442


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=str)
def test_a_jets_vector_depends_on_the_jet_alone(dtype: torch.dtype, tolerance: float) -> None:
    model = drawn(width=64, heads=8, blocks=3).to(dtype)
    features, moving, offsets = inputs_of(random_batch([LENGTHS, (0, 50, 33), (500,), range(1, 100, 3)]))
    together = model(features, moving, offsets)
    for jet in range(len(offsets) - 1):
        rows = slice(int(offsets[jet]), int(offsets[jet + 1]))
        alone = model(features[rows], moving[rows], torch.tensor([0, rows.stop - rows.start]))[0]
        assert float((together[jet] - alone).detach().abs().max()) <= tolerance * float(alone.detach().abs().max()), jet


def test_the_order_of_constituents_does_not_matter() -> None:
    model = drawn().double()
    features, moving, offsets = inputs_of(random_batch([(40,)]))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    turned = model(features[order], moving[order], offsets)
    torch.testing.assert_close(turned, model(features, moving, offsets), rtol=1e-12, atol=1e-12)
    assert float((model(-features, moving, offsets) - turned).detach().abs().max()) > 1e-3


@pytest.mark.parametrize("counts", [(), (0,), (0, 0, 0), (0, 5, 0, 1), (1,), (500,)], ids=str)
def test_empty_and_long_jets_have_finite_vectors_and_gradients(counts: tuple[int, ...]) -> None:
    model = drawn()
    features, moving, offsets = inputs_of(random_batch([counts], dtype=torch.float32))
    vectors = model(features, moving, offsets)
    assert vectors.shape == (len(counts), 32) and bool(torch.isfinite(vectors).all())
    assert (vectors != 0).any(1).tolist() == [count > 0 for count in counts]
    if sum(counts):
        vectors.square().sum().backward()
        assert all(bool(torch.isfinite(one.grad).all()) for one in model.parameters() if one.grad is not None)
        assert model.class_token.grad is not None and bool(model.class_token.grad.any())


def test_all_constituents_of_a_long_jet_count() -> None:
    model = drawn().double()
    features, moving, offsets = inputs_of(random_batch([(500,)]))
    changed = features.clone()
    changed[-1, :5] += 1.0
    assert float((model(changed, moving, offsets) - model(features, moving, offsets)).detach().abs().max()) > 1e-6


def test_how_many_jets_are_padded_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = drawn().double()
    inputs = inputs_of(random_batch([range(0, 90)]))
    expected = model(*inputs)
    for at_once in ((7, 80_000), (32, 3000), (1, 1)):
        monkeypatch.setitem(particle_transformer.AT_ONCE, "cpu", at_once)
        torch.testing.assert_close(model(*inputs), expected, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_the_function() -> None:
    model = drawn(width=8, heads=2, blocks=1, pairs=[3]).double()
    features, moving, offsets = inputs_of(random_batch([(3, 0, 1, 2)]))
    parameters = dict(model.named_parameters())

    def vectors(*values: Tensor) -> Tensor:
        named = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(model, named, (features, moving, offsets))

    assert torch.autograd.gradcheck(vectors, tuple(parameters.values()), atol=1e-6, fast_mode=True)


def test_starting_weights_follow_from_the_seed_alone() -> None:
    first, same, other = drawn(3), ParticleTransformer(**SMALL).double(), drawn(4)
    with torch.no_grad():
        for parameter in same.parameters():
            parameter.fill_(7.0)
    state = torch.get_rng_state()
    initialise(same, 3, "torch")
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, same.get_parameter(name).float()), name
    assert not torch.equal(first.class_token, other.class_token)
    assert torch.equal(state, torch.get_rng_state())


def test_starting_weights_are_weaver_cores_scheme() -> None:
    model = drawn(width=64, heads=4, blocks=3)
    for number, block in enumerate(model.blocks, start=1):
        bounds = {"in_proj": 128, "out_proj": 128 * 2 * number, "fc1": 320, "fc2": 320 * 2 * number}
        for name, fan in bounds.items():
            layer = block.get_submodule(name)
            assert isinstance(layer, nn.Linear) and not bool(layer.bias.any())
            assert float(layer.weight.detach().abs().max()) == pytest.approx(math.sqrt(6 / fan), rel=0.01)
        assert bool((block.c_attn == 1).all() and (block.w_resid == 1).all())
    assert 0.01 < float(model.class_token.detach().std()) < 0.03


def test_dropout_acts_in_training_alone() -> None:
    model = drawn(dropout=0.5).double()
    inputs = inputs_of(random_batch([(20, 3)]))
    torch.manual_seed(0)
    assert not torch.equal(model(*inputs), model(*inputs))
    model.eval()
    without = drawn().double()
    assert torch.equal(model(*inputs), without(*inputs))
