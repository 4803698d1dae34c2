"""Strategies and the optimiser: which weights start where, which of them learn, and how fast.

Adam with one learning rate for new layers and another for the pretrained backbone (arXiv 2412.10665 section III.4).
"""

from collections.abc import Mapping

import torch
import torch._dynamo  # the first optimiser of a process imports it, for a second: no training shall be charged for that
from torch import Tensor, nn

from breakeven.models.backbone import Backbone
from breakeven.models.weights import WeightsDoNotFit, load_weights
from breakeven.training.recipe import Recipe, Strategy

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def apply_strategy(model: Backbone, strategy: Strategy, seed: int, backbone: Mapping[str, Tensor] | None) -> None:
    """Set the starting weights of `model` and which of them learn.

    backbone: state dict of a pretrained model, scaling included; its head may have any width, as it is dropped.
    Raises ValueError where a strategy lacks its backbone (or scratch has one), WeightsDoNotFit with all misfits.
    """
    if strategy.name == "scratch":
        mark_learning(model, strategy)
        if backbone is not None:
            raise ValueError("the strategy scratch takes no backbone; drop it, or choose finetune or frozen")
        model.draw_weights(seed)
        return
    if backbone is None:
        raise ValueError(f"the strategy {strategy.name} needs the weights of a pretrained backbone; give them")
    translated = model.from_pretrained(backbone)  # which may tell that more layers are new
    mark_learning(model, strategy)
    load_weights(model, translated, source="the backbone", skip=model.new_layers)
    model.draw_new_weights(seed)


def mark_learning(model: Backbone, strategy: Strategy) -> None:
    """Let gradients flow to the weights that learn: all, or for a frozen backbone the new layers."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(strategy.name != "frozen" or name.startswith(model.new_layers))


def make_optimiser(model: Backbone, recipe: Recipe, strategy: Strategy) -> torch.optim.Adam:
    """Adam over the weights that learn, in groups with a factor `ratio` on the recipe's rate; call set_rates next."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    head = [parameter for name, parameter in named if name.startswith(model.new_layers)]
    backbone = [parameter for name, parameter in named if not name.startswith(model.new_layers)]
    groups = [{"params": head, "ratio": 1.0}]
    if backbone:
        groups.append({"params": backbone, "ratio": backbone_ratio(recipe, strategy)})
    return torch.optim.Adam(groups, lr=recipe.learning_rate, fused=True)


def backbone_ratio(recipe: Recipe, strategy: Strategy) -> float:
    """The backbone's rate over the head's: the recipe's where it is pretrained, 1 where all layers are new."""
    return 1.0 if strategy.name == "scratch" else recipe.ratio


def set_rates(optimiser: torch.optim.Adam, recipe: Recipe, epoch: int) -> None:
    """The learning rates of `epoch`: the recipe's for new layers, times the ratio for the backbone."""
    for group in optimiser.param_groups:
        group["lr"] = recipe.rate(epoch) * group["ratio"]


def moments(optimiser: torch.optim.Adam, model: nn.Module) -> dict[str, Tensor]:
    """Copies of Adam's state under names such as "exp_avg.head.weight"."""
    return {
        f"{kind}.{name}": optimiser.state[parameter][kind].detach().clone()
        for name, parameter in model.named_parameters()
        if parameter in optimiser.state
        for kind in _MOMENTS
    }


def load_moments(optimiser: torch.optim.Adam, model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Put Adam's state back; raises WeightsDoNotFit with all misfits before anything is changed."""
    check_moments(model, saved)
    for name, parameter in _learning(model).items():
        optimiser.state[parameter] = {
            "step": saved[f"step.{name}"].to(parameter.device, copy=True),
            "exp_avg": saved[f"exp_avg.{name}"].to(parameter, copy=True),
            "exp_avg_sq": saved[f"exp_avg_sq.{name}"].to(parameter, copy=True),
        }


def check_moments(model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Raise WeightsDoNotFit, with all misfits, where Adam's state is not that of the weights of `model` that learn."""
    expected = {
        f"{kind}.{name}": torch.Size() if kind == "step" else parameter.shape
        for name, parameter in _learning(model).items()
        for kind in _MOMENTS
    }
    misfits = [f"missing: {name}" for name in expected if name not in saved]
    misfits += [f"unexpected: {name}" for name in saved if name not in expected]
    misfits += [
        f"shape: {name} is {list(saved[name].shape)}, the model has {list(shape)}"
        for name, shape in expected.items()
        if name in saved and saved[name].shape != shape
    ]
    if misfits:
        raise WeightsDoNotFit("the optimiser state does not fit the model:\n  " + "\n  ".join(sorted(misfits)))


def _learning(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
