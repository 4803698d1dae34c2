"""What a step of K trainings needs of whatever calculates it: the contract between captured.py and the engines.

An engine holds K networks of one shape and calculates one batch of each. All its tensors stay at their addresses for its
life, and nothing in backward, update and predict waits for the host, so that a step can be captured as one CUDA graph.
"""

from typing import Protocol

from torch import Tensor


class Engine(Protocol):
    """K members, a batch of at most `batch` events of each.

    What the trainer sets before a step:
    index: [K, batch] int64, event numbers.  target: [K, batch], or [K, batch, n_labels].
    count: [K] int32, how many of the batch's events, the first ones, are real.
    divisor: [K] int32, the events of the batch over all workers, by which the sum of its losses is divided. A member with
    none takes no step: neither its weights nor Adam's state change in a single bit.
    rates: [K, 2], learning rates of head and backbone.

    What the engine sets:
    loss: [K], sum of the losses of the real events over the divisor.  weights, gradient: [K, n_parameters], columns in the
    order of named_parameters().  first, second, steps: Adam's state, [K, n_parameters] twice and [K].
    A member whose numbers are not finite spoils its own rows alone.
    """

    index: Tensor
    target: Tensor
    count: Tensor
    divisor: Tensor
    rates: Tensor
    loss: Tensor
    weights: Tensor
    gradient: Tensor
    first: Tensor
    second: Tensor
    steps: Tensor

    def backward(self) -> None:
        """Loss and gradient of the batch; workers may sum the gradient before the update."""

    def update(self) -> None:
        """One step of Adam, with torch.optim.Adam's default betas and epsilon."""

    def predict(self) -> Tensor:
        """Outputs [K, batch, n_outputs] of the batch; what lies beyond a member's count means nothing."""
