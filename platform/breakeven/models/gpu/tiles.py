"""How the rows of each kernel are cut: programs, rows per tile, warps per program, by precision.

From measurements on an H200 (9.0). In bfloat16 the same cuts fit an 8.0, as compiled; nobody has timed them there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tile:
    """per_processor: programs for each multiprocessor of the card.  rows: in a tile.  warps: of a program."""

    per_processor: int
    rows: int
    warps: int


@dataclass(frozen=True)
class Cut:
    """programs: for each network.  rows, warps: as a Tile's."""

    programs: int
    rows: int
    warps: int


Table = Mapping[str, tuple[Tile, ...]]
"""The tiles to choose from, smallest first, for the kernels over edges, nodes and events, forward and backward, for sums
over nodes' edges, and over the columns of all parameters, where per_processor counts for nothing."""

_BFLOAT16: Table = {
    "edges forward": (Tile(4, 64, 4),),
    "edges backward": (Tile(1, 128, 8),),
    "nodes forward": (Tile(2, 64, 4),),
    "nodes backward": (Tile(1, 64, 4), Tile(1, 128, 8)),
    "nodes sums": (Tile(16, 16, 4),),
    "events forward": (Tile(1, 16, 4),),
    "events backward": (Tile(1, 16, 4),),
    "columns": (Tile(8, 256, 4),),
}
_FLOAT32: Table = {
    **_BFLOAT16,
    "edges forward": (Tile(2, 64, 4),),
    "edges backward": (Tile(1, 64, 4),),
    "nodes backward": (Tile(1, 64, 4),),
}
_INTERPRETED: Table = {
    **{kind: (Tile(2, 64 if kind.startswith("edges") else 16, 4),) for kind in _BFLOAT16},
    "columns": (Tile(1, 65536, 4),),
}
"""Triton's interpreter: several tiles and programs from the few rows of a test, and as few operations as that allows."""

_SLACK = 1.05
"""Batches differ in size; a program more than the average needs would often be one too few."""


def table(interpreted: bool, precision: str) -> Table:
    """The tiles for a card, or for Triton's interpreter."""
    if interpreted:
        return _INTERPRETED
    return _BFLOAT16 if precision == "bfloat16" else _FLOAT32


class Tiling:
    """The cuts for `networks` side by side on a card with `processors` multiprocessors.

    rows: how many edges, nodes and events a network's batch has on average.
    """

    def __init__(self, tiles: Table, processors: int, networks: int, rows: Mapping[str, float]) -> None:
        self._tiles, self._processors, self._networks, self._rows = tiles, processors, networks, rows

    @property
    def columns(self) -> Tile:
        """Of kernels over the columns of all parameters."""
        return self._tiles["columns"][0]

    def cut(self, kind: str) -> Cut:
        """How the kernels of `kind`, such as "edges backward", are cut.

        Of several tiles the largest that every program gets two of. As few programs as do it in the same number of
        rounds, since each one writes a slab of gradients that must be summed.
        """
        rows = self._rows[kind.split()[0]] * _SLACK
        for tile in reversed(self._tiles[kind]):
            most = max(1, tile.per_processor * self._processors // self._networks)
            if rows >= 2 * most * tile.rows:
                break
        n_tiles = max(1, -(-int(rows) // tile.rows))
        rounds = -(-n_tiles // most)
        return Cut(-(-n_tiles // rounds), tile.rows, tile.warps)


def processors(device: torch.device) -> int:
    """Multiprocessors of a card; in the interpreter, which has none, 1."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
