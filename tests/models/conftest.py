"""Kernels run in Triton's interpreter here, which the conftest above asks for."""

import importlib.util
from typing import Any

import numpy as np


def _index_numpy_arrays() -> None:
    """Let the interpreter's scalars, arrays of one element, be bounds of a range: int() of those is an error since NumPy 2.4."""
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    def patch_and_index(tensor: type, scope: object) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = patch_and_index


def _round_to_bfloat16() -> None:
    """Let the interpreter calculate with bfloat16, which it keeps as whole numbers: it multiplies those, and cuts digits off."""
    import triton.language as tl
    from triton.runtime import interpreter

    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    cast, dot = builder.cast_impl, builder.create_dot

    def widened(value: Any) -> np.ndarray:
        return (value.data.astype(np.uint32) << 16).view(np.float32)

    def rounded(values: np.ndarray) -> np.ndarray:
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        return np.where(np.isnan(values), 0x7FC0, (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)

    def create_cast(self: Any, value: Any, kind: Any) -> Any:
        before, after = value.dtype.scalar, kind.scalar
        if before == tl.bfloat16 and after == tl.float32:
            return handle(widened(value), tl.float32)
        if after == tl.bfloat16 and before != tl.bfloat16:
            return handle(rounded(value.data.astype(np.float32)), tl.bfloat16)
        return cast(self, value, kind)

    def create_dot(self: Any, a: Any, b: Any, total: Any, *options: Any) -> Any:
        if a.dtype.scalar == tl.bfloat16:
            a, b = handle(widened(a), tl.float32), handle(widened(b), tl.float32)
        return dot(self, a, b, total, *options)

    builder.cast_impl, builder.create_dot = create_cast, create_dot
    for name in ("create_si_to_fp", "create_ui_to_fp", "create_fp_ext", "create_fp_trunc"):
        setattr(builder, name, create_cast)


if importlib.util.find_spec("triton") is not None:
    _index_numpy_arrays()
    _round_to_bfloat16()
