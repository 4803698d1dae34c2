"""Strategies: which weights start where, which learn, and at what rate."""

import pytest
import torch

from breakeven.models import build
from breakeven.models.weights import WeightsDoNotFit
from breakeven.training.optimiser import apply_strategy, load_moments, make_optimiser, moments, set_rates
from breakeven.training.recipe import Recipe, Strategy


@pytest.mark.parametrize(
    ("strategy", "new"),
    [(Strategy("finetune"), ("head.",)), (Strategy("frozen"), ("head.",))],
    ids=str,
)
def test_the_backbone_comes_along_under_layers_from_the_seed(strategy: Strategy, new: tuple[str, ...]) -> None:
    pretrained = build(12, seed=5)
    pretrained.scaling.node_mean.fill_(0.25)
    model, same, other = build(1, seed=1), build(1, seed=2), build(1, seed=2)
    for target, seed in ((model, 7), (same, 7), (other, 8)):
        apply_strategy(target, strategy, seed, pretrained.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name])
        if not name.startswith(new):
            assert torch.equal(tensor, pretrained.state_dict()[name])
    assert not torch.equal(model.head.weight, other.head.weight)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if strategy.name == "frozen":
        assert learning == {name for name, _ in model.named_parameters() if name.startswith(new)}
    else:
        assert learning == {name for name, _ in model.named_parameters()}


def test_scratch_depends_on_the_seed_alone_and_unfreezes() -> None:
    model = build(1, seed=1)
    apply_strategy(model, Strategy("frozen"), 3, build(12, seed=5).state_dict())
    apply_strategy(model, Strategy("scratch"), 3, None)
    fresh = build(1, seed=3)
    assert all(
        torch.equal(tensor, fresh.state_dict()[name])
        for name, tensor in model.state_dict().items()
        if "scaling" not in name
    )
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_backbone_where_none_belongs_or_none_where_it_does() -> None:
    with pytest.raises(ValueError, match="scratch takes no backbone"):
        apply_strategy(build(1), Strategy(), 0, build(12).state_dict())
    with pytest.raises(ValueError, match="finetune needs the weights"):
        apply_strategy(build(1), Strategy("finetune"), 0, None)
    with pytest.raises(WeightsDoNotFit, match=r"missing: blocks\.3"):
        apply_strategy(build(1), Strategy("finetune"), 0, build(12, iterations=3).state_dict())


def test_rates_of_head_and_backbone() -> None:
    recipe = Recipe(learning_rate=1e-3, decay=0.5, ratio=0.1)
    model = build(1)
    for strategy, expected in (
        (Strategy("finetune"), [1e-3 / 4, 1e-4 / 4]),
        (Strategy("scratch"), [1e-3 / 4, 1e-3 / 4]),
        (Strategy("frozen"), [1e-3 / 4]),
    ):
        apply_strategy(model, strategy, 0, None if strategy.name == "scratch" else build(12).state_dict())
        adam = make_optimiser(model, recipe, strategy)
        set_rates(adam, recipe, 2)
        assert [group["lr"] for group in adam.param_groups] == pytest.approx(expected)
        grouped = [id(parameter) for group in adam.param_groups for parameter in group["params"]]
        assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_moments_come_back_and_misfits_are_listed() -> None:
    model, recipe = build(1), Recipe()
    adam = make_optimiser(model, recipe, Strategy())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    adam.step()
    saved = moments(adam, model)
    fresh = make_optimiser(model, recipe, Strategy())
    load_moments(fresh, model, saved)
    assert all(torch.equal(tensor, saved[name]) for name, tensor in moments(fresh, model).items())
    saved["exp_avg.head.bias"] = torch.zeros(2)
    saved["exp_avg.tail"] = saved.pop("exp_avg.head.weight")
    with pytest.raises(WeightsDoNotFit) as error:
        load_moments(fresh, model, saved)
    for part in ("missing: exp_avg.head.weight", "unexpected: exp_avg.tail", "shape: exp_avg.head.bias is [2]"):
        assert part in str(error.value)
