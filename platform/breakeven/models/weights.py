"""Weights into models: a set of weights that does not fit is refused with all its misfits. Reads no files."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightsDoNotFit(ValueError):
    """Weights of another model; the message lists every missing, unexpected and misshapen tensor."""


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], *, source: str, skip: tuple[str, ...] = ()) -> None:
    """Copy `weights` into `model` where names and shapes agree, on the model's device and in its precision.

    source: where the weights come from, named in errors.  skip: prefixes of names that are neither loaded nor
    asked for, such as ("head.",).  Raises WeightsDoNotFit before anything is changed.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(skip)}
    given = {name: tensor for name, tensor in weights.items() if not name.startswith(skip)}
    if misfits := _misfits(own, given):
        raise WeightsDoNotFit(
            f"{source} does not fit the model ({len(misfits)} misfits):\n  "
            + "\n  ".join(misfits)
            + "\nbuild the model with the arguments (EventNetwork.config) of the one the weights come from"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(given[name])


def _misfits(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    misfits = [f"missing: {name} {_shape(own[name])}" for name in own if name not in given]
    misfits += [f"unexpected: {name} {_shape(given[name])}" for name in given if name not in own]
    for name in own.keys() & given.keys():
        if own[name].shape != given[name].shape:
            misfits.append(f"shape: {name} is {_shape(given[name])}, the model has {_shape(own[name])}")
        elif own[name].dtype == torch.bool and bool(own[name]) != bool(given[name]):
            misfits.append(f"flag: {name} is {bool(given[name])}, the model has {bool(own[name])}")
    return sorted(misfits)


def _shape(tensor: Tensor) -> str:
    return str(list(tensor.shape))
