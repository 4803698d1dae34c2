"""The event networks of arXiv 2401.13536: from what is known of each jet to one vector per event. Knows no constituents."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from breakeven.models.jet_inputs import HIGH_LEVEL
from breakeven.models.moments import Moments
from breakeven.models.ragged import sums


class JetEvent(nn.Module):
    """Three layers for each jet, the sum over jets, three layers for the event; ReLU after each.

    n_inputs: numbers of each jet from the backbone, one or its vector.  high_level: whether high-level features stand beside
    them; without, jets have no layers of their own, their vectors are summed.  width: of every layer.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_inputs: int, high_level: bool, width: int) -> None:
        super().__init__()
        self.high_level = high_level
        if high_level:
            self.register_buffer("mean", torch.zeros(len(HIGH_LEVEL)))
            self.register_buffer("std", torch.ones(len(HIGH_LEVEL)))
            self.per_jet = nn.Sequential(*_three_layers(n_inputs + len(HIGH_LEVEL), width))
        self.whole = nn.Sequential(*_three_layers(width if high_level else n_inputs, width))

    def forward(self, from_backbone: Tensor, high_level: Tensor, offsets: Tensor) -> Tensor:
        """One vector per event [n_events, width]; that of an event without jets is the same for all.

        from_backbone: [n_jets, n_inputs].  high_level: [n_jets, 5], raw.  offsets: [n_events + 1] int64 from 0.
        """
        jets = from_backbone
        if self.high_level:
            standardised = (high_level.to(jets.dtype) - self.mean) / self.std
            jets = self.per_jet(torch.cat([jets, standardised], dim=1))
        event: Tensor = self.whole(sums(jets, offsets))
        return event

    def fit_scaling(self, high_level: Moments) -> None:
        """Standardise the high-level features by these moments, where there are any."""
        if self.high_level:
            mean, std = high_level.mean_and_std(len(HIGH_LEVEL))
            self.mean.copy_(mean)
            self.std.copy_(std)


def _three_layers(n_inputs: int, width: int) -> Sequence[nn.Module]:
    return [part for inputs in (n_inputs, width, width) for part in (nn.Linear(inputs, width), nn.ReLU())]
