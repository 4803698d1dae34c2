"""Torch modules as ONNX files, for programs that have neither torch nor this package. Knows no network."""

import io
import json
import logging
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
            program = torch.onnx.export(
                module, tuple(inputs.values()), dynamo=True, dynamic_shapes=dict(sizes), verbose=False,
                input_names=list(inputs), output_names=list(outputs), custom_translation_table=_translations(),
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


def _translations() -> dict[Any, Callable[..., Any]]:
    """Functions that onnxruntime has in float32 alone, or not at all, by such as it has in float64 too."""
    from onnxscript import opset18

    op: Any = opset18  # its types allow for no number whose type is that of another

    def number(value: float, like: Any) -> Any:
        return op.CastLike(op.Constant(value_float=value), like)

    def half(x: Any, combine: Callable[..., Any]) -> Any:
        return op.Mul(combine(op.Exp(x), op.Exp(op.Neg(x))), number(0.5, x))

    def cos(x: Any) -> Any:
        sine = op.Sin(op.Mul(x, number(0.5, x)))
        return op.Sub(number(1.0, x), op.Mul(number(2.0, x), op.Mul(sine, sine)))

    aten = torch.ops.aten
    return {
        aten.cosh.default: lambda x: half(x, op.Add),
        aten.sinh.default: lambda x: half(x, op.Sub),
        aten.cos.default: cos,
        aten.hypot.default: lambda x, y: op.Sqrt(op.Add(op.Mul(x, x), op.Mul(y, y))),
    }
