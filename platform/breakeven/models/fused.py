"""The event network's backbone as one compiled call: builds fused.cpp with the machine's own compiler,
loads it and puts it behind autograd.

Serves float32 on CPU at a hidden width of 64 and declines everything else, which then runs in plain torch;
where there is no compiler it says so once. The formulas are those of event_network.iterations; tests hold it to them.
Environment: BREAKEVEN_FUSED=0 switches it off, CXX names the compiler, XDG_CACHE_HOME moves the built
library.
"""

import ctypes
import functools
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors  # 160 tensors in one call each way
from torch.autograd.function import once_differentiable

from breakeven.models.event_network import EventNetwork
from breakeven.models.graph import ETA, N_NODE_FEATURES, PHI

HIDDEN = 64
"""The only width the kernel is written for."""

_SOURCES = tuple(Path(__file__).with_name(name) for name in ("fused.cpp", "fused_mlp.h"))
# -fopenmp-simd vectorises the marked sums and links no OpenMP runtime: torch's own stays the only one.
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp-simd", "-fPIC", "-shared", "-pthread")
_C_TYPES = {torch.float32: "float", torch.float64: "double"}
_log = logging.getLogger(__name__)


def serves(model: EventNetwork, nodes: Tensor) -> bool:
    """Whether the native engine should run `model` on `nodes` here; builds the kernel at the first question.

    No to float64, though `represent` can do it: plain torch is the reference there.
    """
    weight = model.head.weight
    return (
        model.hidden == HIDDEN
        and weight.dtype is torch.float32
        and weight.device.type == "cpu"
        and nodes.device.type == "cpu"
        and not nodes.requires_grad  # the kernel has no gradient for inputs
        and not torch.is_autocast_enabled("cpu")
        and torch._C._functorch.maybe_current_level() is None  # nor any rule for torch.func
        and compiled(torch.float32) is not None
    )


def represent(model: EventNetwork, nodes: Tensor, offsets: Tensor) -> Tensor:
    """The decoder's output [n_events, 64]; arguments as in EventNetwork.forward.

    Runs on torch.get_num_threads() threads; for one number of threads, results are the same to the last bit.
    Raises ValueError where nodes and offsets do not belong together, RuntimeError where there is no kernel.
    """
    batch = _Batch(model, nodes, offsets)
    parameters = model.backbone_parameters()
    if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in parameters):
        output: Tensor = _Backbone.apply(batch, *parameters)  # type: ignore[no-untyped-call]
        return output
    with torch.no_grad():
        return batch.forward(_flatten_dense_tensors(parameters), None)[0]


@functools.cache
def compiled(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The kernel in float32 or float64, built and loaded; None, with one message, where that cannot be."""
    if os.environ.get("BREAKEVEN_FUSED") == "0":
        _log.info("BREAKEVEN_FUSED=0: the event network runs in plain torch")
        return None
    try:
        loaded = ctypes.CDLL(str(build(dtype)))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: a user without a home
        reason = getattr(error, "stderr", None) or error
        _log.warning(
            "the event network runs in plain torch, about half as fast as it could; the kernel needs a C++ compiler "
            "(CXX) and a folder to write to (XDG_CACHE_HOME): %s",
            reason,
        )
        return None
    loaded.fused_parameters.restype = loaded.fused_saved.restype = ctypes.c_int64
    return loaded


def build(dtype: torch.dtype, folder: Path | None = None) -> Path:
    """Compile the kernel for this machine, unless `folder` has it already; returns the library's path.

    folder: by default breakeven/ in the user's cache. The file's name holds a hash of the sources, the flags
    and all that the compiler says of itself and of this CPU, so that different machines can share the folder.
    Any number of processes may build at once: each writes a file of its own and renames it when it is whole.
    Raises FileNotFoundError without a compiler, OSError on an unwritable folder, subprocess.SubprocessError
    where the compiler fails.
    """
    names = (os.environ.get("CXX", ""), "g++", "clang++", "c++")
    compiler = next((path for name in names if (path := shutil.which(name))), None)
    if compiler is None:
        raise FileNotFoundError("no C++ compiler found; install g++ or name one in the variable CXX")
    flags = (*_FLAGS, f"-DREAL={_C_TYPES[dtype]}")
    compiler_and_cpu = _run(compiler, *flags, "-dM", "-E", "-x", "c++", os.devnull)
    text = "\0".join((compiler, *flags, compiler_and_cpu, *(source.read_text() for source in _SOURCES)))
    if folder is None:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "breakeven"
    built = folder / f"fused-{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    if not built.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            fresh = Path(temporary) / built.name
            _run(compiler, *flags, str(_SOURCES[0]), "-o", str(fresh))
            fresh.replace(built)
    return built


class _CBatch(ctypes.Structure):
    """Batch in fused.cpp."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("node_features", "iterations", "n_blocks")),
        *((name, ctypes.c_void_p) for name in ("nodes", "angles", "globals")),
        *((name, ctypes.c_void_p) for name in ("edge_mean", "edge_deviation", "offsets")),
        ("n_events", ctypes.c_int64),
    )


class _Batch:
    """A batch as the kernel reads it, and the calls into the kernel; owns what the C structure points to."""

    def __init__(self, model: EventNetwork, nodes: Tensor, offsets: Tensor) -> None:
        scaling, self.dtype = model.scaling, model.head.weight.dtype
        loaded = compiled(self.dtype)
        if loaded is None:
            raise RuntimeError("there is no fused kernel on this machine; ask `serves` first")
        self._library = loaded
        if nodes.ndim != 2 or nodes.shape[1] != N_NODE_FEATURES:
            raise ValueError(f"nodes must be [n_nodes, {N_NODE_FEATURES}]; got {list(nodes.shape)}")
        offsets = offsets.to(torch.int64).contiguous()
        n_objects = offsets.diff()
        if offsets[0] != 0 or offsets[-1] != len(nodes) or bool((n_objects < 0).any()):
            raise ValueError(
                f"offsets must rise from 0 to {len(nodes)}, the number of nodes; they run from {int(offsets[0])} "
                f"to {int(offsets[-1])}, the smallest step being {int(n_objects.min()) if len(n_objects) else 0}"
            )
        with torch.no_grad():
            nodes = nodes.to(self.dtype)
            self._tensors = {
                "nodes": scaling.nodes(nodes).contiguous(),
                "angles": nodes[:, ETA : PHI + 1].contiguous(),
                "globals": scaling.globals(n_objects).contiguous(),
                "edge_mean": scaling.edge_mean,
                "edge_deviation": scaling.edge_std,
                "offsets": offsets,
            }
        pointers = {name: tensor.data_ptr() for name, tensor in self._tensors.items()}
        self._n_events, self._threads = len(n_objects), ctypes.c_int(torch.get_num_threads())
        sizes = (N_NODE_FEATURES, model.iterations, len(model.blocks))
        self._pointer = ctypes.byref(_CBatch(*sizes, n_events=self._n_events, **pointers))
        self.n_parameters: int = loaded.fused_parameters(self._pointer)

    def saved(self) -> Tensor:
        """Memory for what the forward pass keeps for the backward pass."""
        n_bytes = self._library.fused_saved(self._pointer, self._threads) * self.dtype.itemsize
        return _borrow(n_bytes)

    def forward(self, parameters: Tensor, saved: Tensor | None) -> tuple[Tensor, Tensor]:
        """The output [n_events, 64], and the transposed weights for `backward`; parameters: all, flat."""
        if parameters.dtype is not self.dtype or parameters.numel() != self.n_parameters:
            raise ValueError(f"the kernel needs {self.n_parameters} parameters, all {self.dtype}")
        output, transposed = parameters.new_empty(self._n_events, HIDDEN), torch.empty_like(parameters)
        self._call(self._library.fused_forward, parameters, transposed, saved, output)
        return output, transposed

    def backward(self, parameters: Tensor, transposed: Tensor, saved: Tensor, output_gradient: Tensor) -> Tensor:
        """The gradients of all parameters, flat."""
        gradients = torch.empty_like(parameters)
        output_gradient = output_gradient.contiguous()
        kernel = self._library.fused_backward
        self._call(kernel, parameters, transposed, saved, output_gradient, gradients)
        return gradients

    def _call(self, function: Any, *tensors: Tensor | None) -> None:
        pointers = (ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in tensors)
        function(self._pointer, self._threads, *pointers)


class _Backbone(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, batch: _Batch, *parameters: Tensor) -> Tensor:
        flat, saved = _flatten_dense_tensors(parameters), batch.saved()
        output, transposed = batch.forward(flat, saved)
        ctx.batch, ctx.parameters, ctx.needed = batch, parameters, ctx.needs_input_grad[1:]
        ctx.save_for_backward(flat, transposed, saved)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, output_gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.batch.backward(*ctx.saved_tensors, output_gradient)
        views = _unflatten_dense_tensors(gradients, ctx.parameters)
        return None, *(view if needed else None for view, needed in zip(views, ctx.needed, strict=True))


_spare: list[Tensor] = []
"""At most one buffer that no graph holds any more, for the next step: fresh memory costs a page fault per
4 KiB, a sixth of a step's time."""


def _borrow(n_bytes: int) -> Tensor:
    """Uninitialised memory [n_bytes] that comes back to `_spare` once autograd lets go of the tensor."""
    try:
        buffer = _spare.pop()
    except IndexError:
        buffer = torch.empty(0, dtype=torch.uint8)
    if buffer.numel() < n_bytes:
        buffer = torch.empty(n_bytes, dtype=torch.uint8)
    loan = buffer.numpy()[:n_bytes]
    weakref.finalize(loan, _give_back, buffer).atexit = False
    return torch.from_numpy(loan)


def _give_back(buffer: Tensor) -> None:
    _spare[:] = [max(buffer, *_spare, key=Tensor.numel)] if _spare else [buffer]


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
