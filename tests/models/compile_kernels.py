"""Compile the kernels of a step for a card that need not be here; prints what each takes, a JSON line a kernel.

Usage: python compile_kernels.py 9.0 bfloat16 [kernel ...]. In a process of its own, since kernels are either interpreted or
compiled. Compiles in parallel as compile_all does; fails where a launch would still ask for anything else.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.pop("TRITON_INTERPRET", None)

import torch
import triton
from triton.backends.compiler import GPUTarget

from breakeven.models import build
from breakeven.models.gpu import engine as engines
from breakeven.models.gpu import networks, tiles
from breakeven.models.gpu.launch import Launch, compile_all

PROCESSORS = 108
BATCHES = (64, 65536)
"""One of each size of tile."""
INSPECTOR = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"


class Card:
    """As much of a card's driver as Triton needs to look for a compiled kernel."""

    def __init__(self, target: GPUTarget) -> None:
        self.target = target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return device

    def get_current_target(self) -> GPUTarget:
        return self.target


def launches(precision: str) -> list[Launch]:
    """Those of a step of each of BATCHES on such a card, and of a prediction."""
    table = tiles.table
    engines.table = lambda _, precision: table(False, precision)
    engines.processors = lambda device: PROCESSORS
    products = networks.products
    networks.products = lambda precision, _: products(precision, torch.device("cuda"))
    offsets = torch.arange(0, 606, 6)
    of_all = []
    for batch in BATCHES:
        model = build(41)
        events = torch.rand(600, 7), offsets, networks.Room(1, batch, 50, 100)
        engine = engines.Engine([model], *events, objective="multilabel", precision=precision)
        of_all.extend(engine.launches)
    return of_all


def resources(binary: bytes) -> dict[str, int]:
    """Registers and bytes of stack (spilled registers) of a compiled kernel."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        command = [INSPECTOR, "--dump-resource-usage", file.name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {name.lower(): int(value) for name, value in re.findall(r"\b(REG|STACK):(\d+)", said)}


def main() -> None:
    major, minor = map(int, sys.argv[1].split("."))
    target = GPUTarget("cuda", 10 * major + minor, 32)
    wanted = launches(sys.argv[2])
    if len(sys.argv) > 3:
        wanted = [launch for launch in wanted if launch.kernel.fn.__name__ in sys.argv[3:]]
    compile_all(wanted, target)
    triton.runtime.driver.set_active(Card(target))
    cache = Path(os.environ["TRITON_CACHE_DIR"])
    compiled = set(cache.rglob("*"))
    for source in {source.identity: source for source in (launch.source(target) for launch in wanted)}.values():
        kernel = source.compile()
        print(json.dumps({"name": source.name, "shared": kernel.metadata.shared, **resources(kernel.asm["cubin"])}))
    for launch in wanted:
        launch.kernel.warmup(**launch.arguments, grid=launch.grid)
    more = set(cache.rglob("*")) - compiled
    if more:
        sys.exit(f"compile_all had not compiled all that a launch asks for: {sorted(map(str, more))}")


if __name__ == "__main__":
    main()
