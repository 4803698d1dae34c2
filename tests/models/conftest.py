"""Kernels run in Triton's interpreter here, which the conftest above asks for."""

import importlib.util


def _index_numpy_arrays() -> None:
    """Let the interpreter's scalars, arrays of one element, be bounds of a range: int() of those is an error since NumPy 2.4."""
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    def patch_and_index(tensor: type, scope: object) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = patch_and_index


if importlib.util.find_spec("triton") is not None:
    _index_numpy_arrays()
