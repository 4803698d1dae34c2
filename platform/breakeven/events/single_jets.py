"""Jets as events of their own."""

import numpy as np

from breakeven.events.arrays import EventArrays
from breakeven.events.jets import JETS, SINGLE_JETS

__all__ = ["single_jets"]


def single_jets(arrays: EventArrays) -> EventArrays:
    """Every jet as an event of its own, as the tagger of arXiv 2401.13536 is pretrained on the jets of the analysis' events.

    Args:
        arrays: events of jets.

    Returns:
        As many events as there are jets, with the label bb; split, process, number and weight are those of the jet's event, so
        that a test event has no jet in training. Constituents are not copied.

    Raises:
        ValueError: these are other events.
    """
    if arrays.schema != JETS:
        raise ValueError(
            f"single_jets takes events of the schema {JETS.version!r}, those of {', '.join(arrays.process_names)} have "
            f"{arrays.schema.version!r}"
        )
    counts = np.diff(arrays.offsets)
    return EventArrays(
        SINGLE_JETS,
        arrays.nodes,
        np.arange(len(arrays.nodes) + 1),
        labels=arrays.truth[:, None],
        process=np.repeat(arrays.process, counts),
        split=np.repeat(arrays.split, counts),
        event=np.repeat(arrays.event, counts),
        process_names=arrays.process_names,
        inner=arrays.inner,
        weights=np.repeat(arrays.weights, counts),
    )
