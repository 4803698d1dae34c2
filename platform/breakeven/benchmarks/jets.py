"""One training step (forward, backward, Adam) of the Particle Transformer in flat form, against weaver-core's padded one.

Both from the same weights on the same jets, one thread. weaver-core's jets are padded to 100 constituents, as arXiv 2401.13536
trains them, and its inputs are made beforehand; the flat form makes its own from raw columns within the time.
"""

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from breakeven import provenance
from breakeven.benchmarks.sample import real_events
from breakeven.benchmarks.timing import Timing, interleaved, on_one_thread
from breakeven.models.jet_inputs import JetInputs
from breakeven.models.jet_network import JetNetwork
from breakeven.models.published_jets import by_our_names
from breakeven.models.ragged import parents_of
from breakeven.models.weights import load_weights
from breakeven.terminal import console
from breakeven.training.batches import EventTensors, epoch_order

PROCESSES = ("HH4b_1000", "QCD_600_800")
LONGEST = 100
"""Constituents that the padded form has room for, as published."""
SIZES: dict[int, dict[str, Any]] = {
    32: {"width": 32, "blocks": 2, "class_blocks": 1, "heads": 4, "pairs": (8,)},
    128: {"width": 128, "blocks": 8, "class_blocks": 2, "heads": 8, "pairs": (64, 64, 64)},
}
"""By width: one for a CPU, and the published one."""
BATCHES = {32: 256, 128: 128}
"""Jets of a step: as many as the padded form does in 3 GB."""

DEFINITIONS = {
    "jets_per_core_second_W": "jets per second of CPU of the flat form's step at width W, inputs from raw columns included",
    "flat_over_padded_W": "CPU time of weaver-core's step on jets padded to 100 constituents, over the flat form's, at width W: "
    "the median of interleaved rounds",
    "flat_over_padded_W_low": "the smallest of those",
    "flat_over_padded_W_high": "the largest of those",
    "difference_W": "largest difference of their outputs from the same weights in float64, with weaver-core in evaluation mode, "
    "over the largest output; in float32 its masses of hard collinear pairs are rounding noise",
}


class NoWeaver(ImportError):
    """weaver-core is not installed; the message says how to get it."""


class FormsDisagree(RuntimeError):
    """The two forms compute different functions, so that their times say nothing."""


def measure(datasets: Path, quick: bool, content: dict[str, Any]) -> dict[str, float]:
    """The figures of DEFINITIONS; `content` takes every timing.

    datasets: folder that the events come from, or go to.  quick: few rounds of small batches.
    Raises NoWeaver where weaver-core is missing, FormsDisagree before anything is timed.
    """
    _weaver_model(SIZES[32])  # better here than after the events
    jets = single_jets(real_events(datasets, names=PROCESSES, on_generation=_say)[0])
    rounds = 3 if quick else 7
    content |= {"device": provenance.processor(), "jets": jets.n_events, "definitions": DEFINITIONS, "steps": []}
    constituents = jets.inner[0][1].diff().double()
    content |= {"mean_constituents": float(constituents.mean()), "longest": int(constituents.max())}
    figures: dict[str, float] = {}
    with on_one_thread():
        for width, size in SIZES.items():
            batch = BATCHES[width] // (2 if quick else 1)
            index = epoch_order(jets.n_events, seed=0, epoch=0)[:batch]
            figures[f"difference_{width}"] = difference = _difference(jets, index[:64], size)
            if not difference < 1e-5:
                raise FormsDisagree(f"the flat form differs from weaver-core at width {width} by {difference:.2g}")
            timings = interleaved(_steps(jets, index, size), rounds)
            content["steps"] += [
                {"form": form, "width": width, "batch": batch, "cpu_seconds": timing.cpu}
                for form, timing in timings.items()
            ]
            figures |= figures_of(timings, width, batch)
    console.print(table(figures))
    return figures


def single_jets(events: EventTensors) -> EventTensors:
    """Every jet an event of its own."""
    return EventTensors(events.nodes, torch.arange(len(events.nodes) + 1), events.inner, events.levels)


def figures_of(timings: Mapping[str, Timing], width: int, batch: int) -> dict[str, float]:
    """Of timings of the forms "flat" and "padded", by their names in DEFINITIONS."""
    ratios = [padded / flat for flat, padded in zip(timings["flat"].cpu, timings["padded"].cpu, strict=True)]
    return {
        f"jets_per_core_second_{width}": batch / timings["flat"].median_cpu,
        f"flat_over_padded_{width}": statistics.median(ratios),
        f"flat_over_padded_{width}_low": min(ratios),
        f"flat_over_padded_{width}_high": max(ratios),
    }


def table(figures: Mapping[str, float]) -> Table:
    """The figures, a width in each row."""
    shown = Table(
        "width", "jets per core-second", "over padded", "lowest to highest", "difference", title="Jets, one thread"
    )
    for width in SIZES:
        ratio = f"flat_over_padded_{width}"
        spread = f"{figures[f'{ratio}_low']:.2f} to {figures[f'{ratio}_high']:.2f}"
        rate, difference = figures[f"jets_per_core_second_{width}"], figures[f"difference_{width}"]
        shown.add_row(str(width), f"{rate:,.0f}", f"{figures[ratio]:.2f}", spread, f"{difference:.1g}")
    return shown


def padded_inputs(jets: EventTensors, index: Tensor, longest: int = LONGEST) -> tuple[Tensor, Tensor, Tensor]:
    """What weaver-core takes of the jets `index` [n], of their first `longest` constituents, all float64.

    Features [n, 17, longest], four-vectors [n, 4, longest], mask [n, 1, longest].
    """
    raw, _, constituents, offsets = jets.gather(index)
    jet_of = parents_of(offsets)
    features, kinematics = JetInputs(jets.levels).constituents(raw, constituents, jet_of)
    rank = torch.arange(len(jet_of)) - offsets[jet_of]
    here = rank < longest
    place = (jet_of * longest + rank)[here]

    def padded(values: Tensor) -> Tensor:
        room = values.new_zeros(len(index) * longest, values.shape[1])
        return room.index_copy(0, place, values[here]).view(len(index), longest, -1).transpose(1, 2).contiguous()

    return padded(features), padded(kinematics[:, 3:]), padded(torch.ones(len(features), 1, dtype=torch.float64))


def _steps(jets: EventTensors, index: Tensor, size: Mapping[str, Any]) -> dict[str, Callable[[], None]]:
    """A training step of each form on the jets `index` [n], half of them signal."""
    theirs, ours = _both(jets, size, torch.float32)
    features, vectors, mask = padded_inputs(jets, index)
    inputs = features.float(), vectors.float(), mask.float()
    target = (torch.arange(len(index)) % 2).float()

    def step(model: nn.Module, outputs: Callable[[], Tensor]) -> Callable[[], None]:
        optimiser = torch.optim.Adam(model.parameters(), fused=True)
        model.train()

        def run() -> None:
            optimiser.zero_grad()
            functional.binary_cross_entropy_with_logits(outputs()[:, 0], target).backward()
            optimiser.step()

        return run

    return {
        "flat": step(ours, lambda: ours(*jets.gather(index))),
        "padded": step(theirs, lambda: theirs(inputs[0], v=inputs[1], mask=inputs[2])),
    }


def _difference(jets: EventTensors, index: Tensor, size: Mapping[str, Any]) -> float:
    """Between the outputs of both for the jets `index` [n], over the largest of them, in float64."""
    theirs, ours = _both(jets, size, torch.float64)
    theirs.eval()
    features, vectors, mask = padded_inputs(jets, index)
    with torch.no_grad():
        expected = theirs(features, v=vectors, mask=mask)
        return float((ours(*jets.gather(index)) - expected).abs().max() / expected.abs().max())


def _both(jets: EventTensors, size: Mapping[str, Any], dtype: torch.dtype) -> tuple[nn.Module, JetNetwork]:
    """weaver-core's model, with random weights, and ours with the same."""
    torch.manual_seed(0)
    theirs = _weaver_model(size).to(dtype)
    ours = JetNetwork(jets.levels, 1, **size).to(dtype)
    load_weights(ours, by_our_names(theirs.state_dict()), source="weaver-core")
    return theirs, ours


def _weaver_model(size: Mapping[str, Any]) -> nn.Module:
    try:
        from weaver.nn.model.ParticleTransformer import ParticleTransformer
    except ImportError as error:
        raise NoWeaver(
            f"{error.name} is not installed: the benchmark of jets measures against it; pip install --no-deps weaver-core==0.5.3"
        ) from error
    width = size["width"]
    without = {"dropout": 0, "attn_dropout": 0, "activation_dropout": 0}
    model: nn.Module = ParticleTransformer(
        input_dim=17, num_classes=1, fc_params=[], use_pre_activation_pair=False, trim=False, block_params=without,
        embed_dims=[width, 4 * width, width], pair_embed_dims=list(size["pairs"]), num_heads=size["heads"],
        num_layers=size["blocks"], num_cls_layers=size["class_blocks"],
    )  # fmt: skip
    return model


def _say(name: str) -> None:
    console.print(f"  generating events of {name}")
