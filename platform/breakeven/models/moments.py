"""Means and standard deviations of features over batches of any number, in the memory of one of them."""

import torch
from torch import Tensor


class Moments:
    """Running sums of values and squares, shifted by the first mean so that no digits cancel."""

    def __init__(self) -> None:
        self.count = 0
        self.shift: Tensor | None = None
        self.first: Tensor | float = 0.0
        self.second: Tensor | float = 0.0

    def add(self, values: Tensor) -> None:
        """Take in the rows of `values` [n, width]."""
        if len(values) == 0:
            return
        if self.shift is None:
            self.shift = values.mean(0)
        self.count += len(values)
        self.first = self.first + (values - self.shift).sum(0)
        self.second = self.second + (values - self.shift).square().sum(0)

    def mean_and_std(self, width: int) -> tuple[Tensor, Tensor]:
        """Of all rows so far, [width] each; 0 and 1 where there are none, and 1 for what never varies."""
        if self.shift is None:
            return torch.zeros(width), torch.ones(width)
        mean = torch.as_tensor(self.first) / self.count
        std = (torch.as_tensor(self.second) / self.count - mean.square()).clamp(min=0.0).sqrt()
        return self.shift + mean, torch.where(std < 1e-6, torch.ones_like(std), std)
