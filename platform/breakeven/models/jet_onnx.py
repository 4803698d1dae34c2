"""The jet network's backbone as an ONNX file: jet by jet, constituents padded to one length, from operators that ONNX has.

The same function of the same weights as the flat form.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from breakeven.models.jet_inputs import JetInputs, pair_features
from breakeven.models.jet_network import JetNetwork
from breakeven.models.onnx_file import features_of, write_onnx
from breakeven.models.particle_transformer import ParticleTransformer

INPUTS = ("jets", "constituents", "there")
OUTPUTS = ("representation", "outputs")
_NEVER = -1e9
"""What a score of attention loses to any real one, and yet finite: jets may be empty."""


def export_onnx(model: JetNetwork, path: Path) -> None:
    """Write a backbone as ONNX, atomically; any number of jets goes into it, and any number of constituents.

    Its inputs are jets [n_jets, n_columns] and constituents [n_jets, longest, n_columns] float32, raw, their columns those of the
    events' levels, which stand in the file's metadata with their units, and there [n_jets, longest] bool, false on padding. Its
    outputs are representation [n_jets, width], the class token, zeros for a jet without constituents, and outputs
    [n_jets, n_outputs], the head's. Memory grows as n_jets x longest^2.
    model: on CPU, with the representation "jet", else ValueError. Raises as write_onnx.
    """
    if model.representation != "jet":
        raise ValueError(
            f"representation is {model.representation!r}; only networks of single jets are written as ONNX"
        )
    n_jets, longest = torch.export.Dim("n_jets", min=1), torch.export.Dim("longest", min=1)
    sizes = {"jets": {0: n_jets}, "constituents": {0: n_jets, 1: longest}, "there": {0: n_jets, 1: longest}}
    jets, constituents = (torch.tensor([[_EXAMPLE.get(one.name, 0.0) for one in level]]) for level in model.levels)
    example = {
        "jets": jets.repeat(2, 1),
        "constituents": constituents.repeat(2, 3, 1) * torch.tensor([1.0, 0.5, 0.25])[:, None],
        "there": torch.tensor([[True, True, True], [True, False, False]]),
    }
    about = {"features": features_of(model.levels)}
    write_onnx(_Exportable(model).eval(), path, example, sizes, OUTPUTS, about)


_EXAMPLE = {"pt": 300.0, "eta": 0.5, "phi": 1.0, "mass": 120.0, "soft_drop_mass": 110.0, "d_eta": 0.1, "d_phi": -0.2, "d0": 0.1,
            "d0_error": 0.05}  # fmt: skip
"""A jet and its constituents that are no more than in range."""


class _Exportable(nn.Module):
    """JetNetwork.represent and .head for single jets, every jet as long as the longest."""

    def __init__(self, model: JetNetwork) -> None:
        super().__init__()
        self.network, self.head, self.inputs = model.jets, model.head, JetInputs(model.levels)
        self.most_constituents = model.most_constituents

    def forward(self, jets: Tensor, constituents: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        n_jets, longest, n_columns = constituents.shape
        if self.most_constituents is not None:
            there = there & (torch.arange(longest) < self.most_constituents)
        jet_of = torch.arange(n_jets)[:, None].expand(n_jets, longest).reshape(-1)
        features, kinematics = self.inputs.constituents(jets, constituents.reshape(-1, n_columns), jet_of)
        tokens = vectors(self.network, features, kinematics.view(n_jets, longest, -1), there)
        return tokens, self.head(tokens)


def vectors(network: ParticleTransformer, features: Tensor, kinematics: Tensor, there: Tensor) -> Tensor:
    """What ParticleTransformer.forward gives; features: [n_jets * longest, 17], kinematics: [n_jets, longest, 7]."""
    n_jets, longest, n_columns = kinematics.shape
    one, other = kinematics[:, :, None], kinematics[:, None]
    shape = (n_jets, longest, longest, n_columns)
    pairs = pair_features(*(side.expand(shape).reshape(-1, n_columns) for side in (one, other)))
    dtype = network.class_token.dtype
    pairs = network.pair_embed(pairs.to(dtype) * network.pair_scale + network.pair_shift)
    bias = pairs.view(n_jets, longest, longest, -1).permute(3, 0, 1, 2)
    bias = bias.masked_fill(~there[:, None], _NEVER).reshape(-1, longest, longest)
    x, padded = network.embed(features.to(dtype) * network.feature_scale + network.feature_shift), _Whole(~there)
    for block in network.blocks:
        x = block(x, bias, padded)
    token = network.class_token.expand(n_jets, -1)
    for block in network.class_blocks:
        token = block(token, x, padded)
    normed: Tensor = network.norm(token)
    return normed * there.any(1)[:, None].to(dtype)


@dataclass(frozen=True)
class _Whole:
    """What Padded is, where the flat form has padding too. padding: [n_jets, longest] bool."""

    padding: Tensor

    def pad(self, values: Tensor) -> Tensor:
        """values: [n_jets * longest, width] -> [n_jets, longest, width]."""
        return values.view(*self.padding.shape, -1)

    def flat(self, padded: Tensor) -> Tensor:
        """The way back."""
        return padded.reshape(-1, padded.shape[2])
