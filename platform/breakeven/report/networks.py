"""A study of several networks in one report: each network's tables one below the other, its plots as a choice.

Baselines and backbones are of one network, so every figure is computed for each alone (Results.by_network).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd

from breakeven.report.plot import Panel, Plot
from breakeven.report.results import Results
from breakeven.report.table import Table, plain

NETWORK = plain("network", "network")


def tables(results: Results, make: Callable[[Results], list[Table]]) -> list[Table]:
    """What `make` gives for each network, in one."""
    made = {network: make(part) for network, part in results.by_network.items()}
    if "" in made:
        return made[""]
    return [_table(dict(zip(made, alike, strict=True))) for alike in zip(*made.values(), strict=True)]


def plots(results: Results, make: Callable[[Results], Plot]) -> Plot:
    """What `make` gives for each network, in one."""
    made = {network: make(part) for network, part in results.by_network.items()}
    if "" in made:
        return made[""]
    variants: dict[str, tuple[Panel, ...]] = {}
    for network, plot in made.items():
        for words, panels in plot.variants.items():
            variants[f"{network}, {words}" if words else network] = panels
    first = next(iter(made.values()))
    return replace(first, variants=variants, choice=f"network, {first.choice}" if first.choice else "network")


def _table(of: Mapping[str, Table]) -> Table:
    first = next(iter(of.values()))
    columns = {column.heading: column for table in of.values() for column in table.columns}
    frames = [table.frame.assign(network=network) for network, table in of.items()]
    frame = pd.concat([one for one in frames if len(one)] or frames[:1], ignore_index=True)
    frame.insert(0, "network", frame.pop("network"))
    meanings = {"network": "name of the network in the study", **first.meanings}
    return replace(first, frame=frame, columns=(NETWORK, *columns.values()), meanings=meanings)
