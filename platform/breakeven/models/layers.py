"""The layers all networks here are made of, and their initialisation from a seed. Never looks at events."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

SCHEMES = ("he", "torch")


class MLP(nn.Module):
    """Four linear layers of one width, ReLU between them, LayerNorm last (arXiv 2412.10665, III.2)."""

    def __init__(self, n_inputs: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(n_inputs, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.third = nn.Linear(hidden, hidden)
        self.fourth = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: [n, n_inputs] -> [n, hidden]."""
        return self.after_first_layer(self.first(inputs))

    def after_first_layer(self, activations: Tensor) -> Tensor:
        """What follows the first layer, [n, hidden] -> [n, hidden]; overwrites activations by their ReLU."""
        for layer in (self.second, self.third, self.fourth):
            activations = layer(torch.relu_(activations))
        normed: Tensor = self.norm(activations)
        return normed


class Encoder(nn.Module):
    """One MLP each for the features of nodes, edges and the whole graph."""

    def __init__(self, n_node: int, n_edge: int, n_global: int, hidden: int) -> None:
        super().__init__()
        self.nodes = MLP(n_node, hidden)
        self.edges = MLP(n_edge, hidden)
        self.globals = MLP(n_global, hidden)


class Block(nn.Module):
    """The three update MLPs of one graph-network iteration (equations of arXiv 2412.10665 section III.2).

    The inputs of each are concatenated in this order, which the columns of its first weight follow:
    edges [x_i, x_j, y_ij, z], nodes [x_i, sum_j y_ij, z], globals [sum_i x_i, sum_ij y_ij, z].
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.edges = MLP(4 * hidden, hidden)
        self.nodes = MLP(3 * hidden, hidden)
        self.globals = MLP(3 * hidden, hidden)


class SelfDrawn(nn.Module, ABC):
    """A module whose starting weights, those of its parts too, follow a scheme of its own, whatever the network's."""

    @abstractmethod
    def draw(self, generator: torch.Generator) -> None:
        """Fill all parameters from `generator`, which is on the CPU; called without gradients."""


def initialise(module: nn.Module, seed: int, scheme: str = "he") -> None:
    """Fill all linear and normalisation layers of `module` as a function of `seed` and `scheme`, on any device.

    scheme: "he", weights uniform in +- sqrt(6 / inputs) and biases zero (He et al., arXiv 1502.01852, eq. 10), so that
    the input's share of a signal survives the 56 layers that it passes; "torch", weights and biases uniform in
    +- 1 / sqrt(inputs), torch's default: each layer then mixes in a bias of its own size and the input fades.
    A last layer (named head) is torch's default either way; LayerNorm starts as the identity; a SelfDrawn part draws itself.
    The global random state is neither read nor changed. Raises ValueError on another scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"initialisation is {scheme!r}; choose one of {', '.join(SCHEMES)}")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        drawn: tuple[str, ...] = ()
        for name, layer in module.named_modules():
            if name.startswith(drawn):
                continue
            if isinstance(layer, SelfDrawn):
                layer.draw(generator)
                drawn += (f"{name}." if name else "",)
            elif isinstance(layer, nn.Linear):
                he = scheme == "he" and name not in ("", "head")
                bound = math.sqrt((6.0 if he else 1.0) / layer.in_features)
                draw_uniform(layer, bound, 0.0 if he else bound, generator)
            elif isinstance(layer, nn.LayerNorm):
                layer.weight.fill_(1.0)
                layer.bias.zero_()


def draw_uniform(layer: nn.Linear, weight: float, bias: float, generator: torch.Generator) -> None:
    """Fill a linear layer uniformly in +- weight and +- bias, on any device, with the same numbers in any precision."""
    for parameter, limit in ((layer.weight, weight), (layer.bias, bias)):
        drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.copy_((2.0 * drawn - 1.0) * limit)
