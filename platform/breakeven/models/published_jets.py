"""Published weights of the Particle Transformer, as weaver-core writes them, into a network of jets. Downloads nothing."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from breakeven.models.jet_network import JetNetwork
from breakeven.models.weights import WeightsDoNotFit, load_weights

_NO_WEIGHTS = ("num_batches_tracked", "trimmer._counter")
_EPS = 1e-5
"""torch's default of batch normalisation, which weaver-core leaves as it is."""


def load_published(network: JetNetwork, path: Path) -> None:
    """Give a network the weights of a Particle Transformer that was trained with weaver-core, as those of arXiv 2202.03772.

    Args:
        network: with the representation "jet"; the published one for JetClass has 10 outputs and the default sizes.
        path: the .pt file, a state dict; names may begin with "mod.". It is read without running what it holds.

    Raises:
        WeightsDoNotFit: every tensor, of either side, that has no counterpart of its shape; nothing is changed.
        ValueError: the file is no state dict.
        FileNotFoundError: there is no such file.
    """
    if network.representation != "jet":
        raise ValueError(
            f"published weights are of single jets, this network has the representation {network.representation!r}: load them "
            'into one with "jet", and start this one from that'
        )
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path} is not a state dict that torch.save wrote: {error}; bring weaver-core's .pt file"
        ) from error
    if not isinstance(weights, Mapping) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise ValueError(f"{path} holds something else than a state dict; save the model's state_dict() alone")
    try:
        load_weights(network, by_our_names(weights), source=str(path))
    except WeightsDoNotFit as error:
        listed = str(error).rpartition("\n")[0]
        raise WeightsDoNotFit(
            f"{listed}\nnames are those of weaver-core's ParticleTransformer with use_pre_activation_pair=False, by our names "
            f"where there is one; this network was built with {network.config()}: build one of the file's size"
        ) from error


def by_our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of weaver-core's ParticleTransformer by the names of a JetNetwork, batch normalisation folded in.

    weights: left as it is. What has no counterpart here keeps its name.
    """
    left = {name.removeprefix("mod."): tensor for name, tensor in weights.items() if not name.endswith(_NO_WEIGHTS)}
    ours: dict[str, Tensor] = {}
    for place, name in (("embed.input_bn", "feature"), ("pair_embed.embed.0", "pair")):
        if (folded := _batch_norm(left, place)) is not None:
            ours[f"jets.{name}_scale"], ours[f"jets.{name}_shift"] = folded
    for convolution in sorted(name for name in left if name.startswith("pair_embed.embed.") and left[name].dim() == 3):
        number = int(convolution.split(".")[2])
        if (folded := _batch_norm(left, f"pair_embed.embed.{number + 1}")) is None:
            continue
        weight, bias = left.pop(convolution), left.pop(f"pair_embed.embed.{number}.bias", torch.zeros(()))
        # Three modules of theirs, convolution, normalisation, GELU, are two here.
        here = f"jets.pair_embed.{(number - 1) // 3 * 2}"
        ours[f"{here}.weight"] = weight.squeeze(2) * folded[0][:, None]
        ours[f"{here}.bias"] = bias * folded[0] + folded[1]
    return ours | {_our_name(name): tensor.view(-1) if name == "cls_token" else tensor for name, tensor in left.items()}


def _batch_norm(left: dict[str, Tensor], place: str) -> tuple[Tensor, Tensor] | None:
    """Scale and shift, float64, of the batch normalisation at `place`, taken out of `left`; None where it is not whole."""
    names = [f"{place}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    if not all(name in left for name in names):
        return None
    weight, bias, mean, variance = (left.pop(name).double() for name in names)
    scale = weight / torch.sqrt(variance + _EPS)
    return scale, bias - mean * scale


def _our_name(name: str) -> str:
    """E.g. "cls_blocks.0.attn.in_proj_weight" -> "jets.class_blocks.0.in_proj.weight", "fc.0.bias" -> "head.bias"."""
    if name in ("fc.0.weight", "fc.0.bias"):
        return name.replace("fc.0", "head")
    parts = (("embed.embed.", "embed."), ("cls_token", "class_token"), ("cls_blocks.", "class_blocks."), (".attn.", "."),
             (".in_proj_", ".in_proj."))  # fmt: skip
    if not name.startswith(("embed.embed.", "blocks.", "cls_blocks.", "cls_token", "norm.")):
        return name
    for theirs, ours in parts:
        name = name.replace(theirs, ours)
    return f"jets.{name}"
