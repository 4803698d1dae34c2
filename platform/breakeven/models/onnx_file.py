"""Torch modules as ONNX files, for programs that have neither torch nor this package. Knows no network."""

import io
import json
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from breakeven import atomic
from breakeven.feature import Levels


class NoOnnx(ImportError):
    """The packages that write ONNX files are not installed; the message says how to get them."""


def write_onnx(
    module: nn.Module,
    path: Path,
    inputs: Mapping[str, Tensor],
    sizes: Mapping[str, Mapping[int, Any]],
    outputs: Sequence[str],
    about: Mapping[str, Any],
) -> None:
    """Write a module as one ONNX file, atomically, its weights in it.

    inputs: an example of each argument of its forward, by name, in order.  sizes: by name, the axes of any size, as torch.export
    has them.  outputs: names of what forward returns.  about: JSON-able facts, kept in the file's metadata beside the example and
    what the module gives for it.
    module: on CPU, in evaluation. Raises NoOnnx where the packages that write it are not installed, OSError where it cannot be
    written.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise NoOnnx(f"{error.name} is not installed: it writes ONNX files; pip install 'breakeven[onnx]'") from error
    with torch.no_grad():
        given = module(*inputs.values())
    exporter = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = exporter.level
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), atomic.replacing(path) as temporary:
        warnings.simplefilter("ignore")  # of the exporter about itself
        exporter.setLevel(logging.ERROR)
        try:
            exported = torch.export.export(
                module, tuple(inputs.values()), dynamic_shapes=tuple(sizes[name] for name in inputs)
            )
            program = torch.onnx.export(
                exported.run_decompositions(_decompositions()), dynamo=True, verbose=False,
                input_names=list(inputs), output_names=list(outputs),
            )  # fmt: skip
        finally:
            exporter.setLevel(level)
        assert program is not None
        example = {"inputs": _plain(inputs), "outputs": _plain(dict(zip(outputs, given, strict=True)))}
        for name, value in {**about, "example": example}.items():
            program.model.metadata_props[name] = json.dumps(value)
        program.save(temporary, external_data=False)


def features_of(levels: Levels) -> list[list[dict[str, str]]]:
    """Name, unit and meaning of each feature of each level, in the order of the columns."""
    return [[{"name": one.name, "unit": one.values, "meaning": one.title} for one in features] for features in levels]


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.tolist() for name, tensor in tensors.items()}


def _decompositions() -> dict[Any, Callable[..., Any]]:
    """Torch's own, and operators that onnxruntime has in float32 alone by such as it has in float64."""
    aten = torch.ops.aten
    return {
        **torch.export.default_decompositions(),
        aten.cosh.default: lambda x: (x.exp() + (-x).exp()) / 2.0,
        aten.sinh.default: lambda x: (x.exp() - (-x).exp()) / 2.0,
        aten.cos.default: lambda x: (x + math.pi / 2.0).sin(),
        aten.hypot.default: lambda x, y: (x * x + y * y).sqrt(),
    }
