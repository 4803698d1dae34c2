"""What a layer inside a network says of each thing of an event, as of each jet, held against its label. It changes no weight."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from breakeven.models.backbone import Backbone
from breakeven.models.ragged import children
from breakeven.training import metrics
from breakeven.training.batches import EventTensors

__all__ = ["listening", "quality_of_probe"]


@contextmanager
def listening(model: Backbone | None) -> Iterator[list[Tensor]]:
    """Keeps the logits [n_things, 1] that the probe of `model` gives in each forward pass within; none where it has no probe,
    and of no model.

    What is heard is computed anyway, so that listening takes no time of its own.
    """
    heard: list[Tensor] = []
    if model is None or not model.probe:
        yield heard
        return
    hook = model.get_submodule(model.probe).register_forward_hook(lambda _, __, logits: heard.append(logits.detach()))
    try:
        yield heard
    finally:
        hook.remove()


def quality_of_probe(heard: Sequence[Tensor], events: EventTensors, index: Tensor) -> dict[str, float]:
    """How well a probe tells things by their labels.

    Args:
        heard: its logits [n_things, 1] for the things of the events `index`, in that order and any number of parts.
        events: with the labels of their things.
        index: rows [n].

    Returns:
        probe_auc, below a half where it is turned round, as it may come out of a training that nobody told of labels; and
        probe_rejection_90, which is then of the other sign, where enough of the background passes. Nothing where the probe said
        nothing, as on a frozen backbone, which is not run again.
    """
    if not heard or not len(events.truth):
        return {}
    logits, rows = (
        torch.cat(list(heard))[:, 0].double().cpu(),
        children(events.offsets, index.to(events.home))[0].cpu(),
    )
    truth = events.truth.index_select(0, rows)
    area = metrics.binary_metrics(logits, truth)["auc"]
    points = metrics.working_points(logits if area >= 0.5 else -logits, truth)
    known = {"auc": area, "rejection_90": points.get("rejection_90")}
    return {f"probe_{name}": value for name, value in known.items() if value is not None}
