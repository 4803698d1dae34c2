"""A kernel with its grid and arguments as a plain value: run it, compile it, or say what has to be compiled.

Compiling needs no GPU: of tensors only type and alignment count, so a list of launches made on CPU tells all that a
card of any architecture will ask for.
"""

import ast
import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, CompiledKernel, make_backend
from triton.compiler import compile as compile_source
from triton.runtime.jit import JITFunction, create_function_from_signature


def settle_key(kernel: Any) -> None:
    """Give a kernel the key in Triton's cache that it has in every process; in Triton's interpreter there is none.

    A key takes in the constants of those called functions alone that have a key already (Triton 3.6), so that it depends
    on what the process has launched before: a kernel compiled ahead would not be found. Hence callees come first.
    """
    if not isinstance(kernel, JITFunction) or kernel.hash is not None:
        return
    scope = kernel.get_capture_scope()
    for name in sorted({node.id for node in ast.walk(kernel.parse()) if isinstance(node, ast.Name)}):
        settle_key(scope.get(name))
    _ = kernel.cache_key  # asked for once, it stays


@dataclass(frozen=True)
class Launch:
    """kernel: a triton.jit function.  grid: programs in each direction.

    arguments: tensors and numbers by name, constexpr ones, and options such as num_warps.
    """

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]

    def __post_init__(self) -> None:
        settle_key(self.kernel)

    def run(self) -> None:
        """Put it on the current stream; the first time compiles, unless the cache has it."""
        self.kernel[self.grid](**self.arguments)

    def source(self, target: GPUTarget) -> "Source":
        """What has to be compiled for `target`, just as `run` would ask for it there."""
        backend = make_backend(target)
        bind = create_function_from_signature(self.kernel.signature, self.kernel.params, backend)
        # What JITFunction.run adds by itself, off by default; without it the cache would not know the kernel again.
        asked = {**self.arguments, "debug": False, "instrumentation_mode": ""}
        bound, specialization, excess = bind(**asked)
        options, signature, constexprs, attributes = self.kernel._pack_args(
            backend, asked, bound, specialization, excess
        )
        function = self.kernel.fn
        return Source(
            function.__module__, function.__name__, target, signature, constexprs, attributes, options.__dict__
        )


@dataclass(frozen=True)
class Source:
    """A kernel for one architecture, in values that can go to another process."""

    module: str
    name: str
    target: GPUTarget
    signature: dict[str, str]
    constexprs: dict[tuple[int, ...], Any]
    attributes: dict[tuple[int, ...], Any]
    options: dict[str, Any]

    @property
    def identity(self) -> str:
        """Equal for equal code."""
        return repr(self)

    def compile(self) -> CompiledKernel:
        """Compile it into Triton's cache on disk, unless it is there."""
        kernel = getattr(importlib.import_module(self.module), self.name)
        settle_key(kernel)
        source = ASTSource(kernel, self.signature, self.constexprs, self.attributes)
        return compile_source(source, target=self.target, options=self.options)


def compile_all(launches: Iterable[Launch], target: GPUTarget) -> int:
    """Compile all that the launches need into Triton's cache, in a process for each core; how many kernels that are.

    A kernel takes seconds and holds Python's lock meanwhile, hence processes; they import nothing but this package. Raises
    RuntimeError with what the compiler says.
    """
    sources = {source.identity: source for source in (launch.source(target) for launch in launches)}
    # In order of their names: forms of one kernel take alike long, and so each process gets its share of the long ones.
    ordered = sorted(sources.values(), key=lambda source: source.name)
    processes = min(len(ordered), len(os.sched_getaffinity(0)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "breakeven.models.gpu.compile"]

    def compile_part(number: int) -> subprocess.CompletedProcess[bytes]:
        part = pickle.dumps(ordered[number::processes])
        return subprocess.run(command, input=part, capture_output=True, env=environment)

    with ThreadPoolExecutor(max(1, processes)) as pool:
        done = list(pool.map(compile_part, range(processes)))
    failed = [process.stderr.decode(errors="replace") for process in done if process.returncode != 0]
    if failed:
        raise RuntimeError(
            f"{len(failed)} of {processes} compilers of GPU kernels failed; the first said:\n{failed[0]}"
        )
    return len(ordered)
