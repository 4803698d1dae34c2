"""Batches of random jets, in the ranges of all columns, and weaver-core's model with weights of the same size."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from breakeven.events.jets import CONSTITUENT, JET

LEVELS = (JET, CONSTITUENT)
SMALL: dict[str, Any] = {"width": 32, "blocks": 2, "class_blocks": 1, "heads": 4, "pairs": [8]}
PUBLISHED: dict[str, Any] = {"width": 128, "blocks": 8, "class_blocks": 2, "heads": 8, "pairs": [64, 64, 64]}

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def random_batch(events: Sequence[Sequence[int]], seed: int = 0, dtype: torch.dtype = torch.float64) -> Batch:
    """Events of jets with so many constituents each: jets, offsets, constituents, their offsets."""
    generator = torch.Generator().manual_seed(seed)
    counts = [count for event in events for count in event]
    jets, inside = (torch.rand(n, 9, generator=generator, dtype=torch.float64) for n in (len(counts), sum(counts)))
    jet = [
        200 + 800 * jets[:, 0],
        4 * jets[:, 1] - 2,
        math.tau * (jets[:, 2] - 0.5),
        200 * jets[:, 3],
        150 * jets[:, 4],
    ]
    constituent = [0.5 + 200 * inside[:, 0] ** 6, 1.2 * inside[:, 1] - 0.6, 1.2 * inside[:, 2] - 0.6]
    constituent += [4 * inside[:, 3] - 2, 1.5 * inside[:, 4], 4 * inside[:, 5] - 2, 1.5 * inside[:, 6]]
    constituent += [(3 * inside[:, 7]).floor() - 1, (5 * inside[:, 8]).floor()]
    return (
        torch.stack(jet, dim=1).to(dtype),
        torch.tensor([0, *map(len, events)]).cumsum(0),
        torch.stack(constituent, dim=1).to(dtype),
        torch.tensor([0, *counts]).cumsum(0),
    )


def weaver_model(size: dict[str, Any], n_outputs: int, seed: int = 0) -> nn.Module:
    """weaver-core's model in float64, its batch normalisation as after a training; without weaver-core the test is skipped."""
    weaver = pytest.importorskip(
        "weaver.nn.model.ParticleTransformer", reason="pip install --no-deps weaver-core==0.5.3"
    )
    torch.manual_seed(seed)
    width = size["width"]
    model: nn.Module = weaver.ParticleTransformer(
        input_dim=17, num_classes=n_outputs, fc_params=[], use_pre_activation_pair=False, trim=False,
        embed_dims=[width, 4 * width, width], pair_embed_dims=size["pairs"], num_heads=size["heads"],
        num_layers=size["blocks"], num_cls_layers=size["class_blocks"],
    ).double().eval()  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("c_attn", "w_resid", "cls_token")):
                parameter.add_(0.3 * torch.randn_like(parameter))
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2.0)
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0.0, 0.1)
    return model
