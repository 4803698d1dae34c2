"""The event network's training step in Triton kernels for CUDA cards: K networks side by side, one CUDA graph a step.

The formulas are those of event_network.iterations, cut by phase (kernels/): a batch is made on the device (batch.py), encoded
(encoder.py), each iteration updates edges, nodes and globals (edges.py, dense.py), then come head and loss (head.py), the
same backward, and Adam (adam.py). forward.py and backward.py put them in order, tiles.py says how rows are cut, launch.py
compiles ahead; engine.py is what a trainer holds. `serves` says whether it can be had: importing this needs no Triton, the
engine does.
"""

import functools
import importlib.util
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from breakeven.models.event_network import EventNetwork

HIDDEN = 64
"""The only width the kernels are written for."""
MOST_OUTPUTS = 256
OLDEST = {"bfloat16": (8, 0), "tf32": (9, 0)}
"""Compute capability of the oldest cards that the kernels fit, by precision: A100, and H100 for the shared memory."""

_log = logging.getLogger(__name__)


def serves(model: "EventNetwork", precision: str) -> bool:
    """Whether engine.Engine should train `model`, where it lies, with products in "float32", "tf32" or "bfloat16".

    On a CUDA card a no is said once, with its reason.
    """
    if model.head.weight.device.type != "cuda":
        return False
    reason = refusal(model, precision)
    if reason is not None:
        _warn_once(reason)
    return reason is None


def refusal(model: "EventNetwork", precision: str) -> str | None:
    """Why the kernels cannot train `model` with products in `precision`; None where they can.

    On CPU they run in Triton's interpreter, for tests: where TRITON_INTERPRET=1 is set before the engine is imported.
    """
    import torch

    from breakeven.models.graph_network import GraphNetwork

    weight = model.head.weight
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed; pip install 'breakeven[gpu]' brings it"
    if not isinstance(model, GraphNetwork):
        return 'they are another form of the engine "native", and this model is of another one'
    if model.hidden != HIDDEN:
        return f"they are written for a hidden width of {HIDDEN}, this model has {model.hidden}"
    if model.n_outputs > MOST_OUTPUTS:
        return f"they are written for at most {MOST_OUTPUTS} outputs, this model has {model.n_outputs}"
    if weight.dtype is not torch.float32:
        return f"they hold weights in float32, this model has {str(weight.dtype).removeprefix('torch.')}"
    if weight.device.type == "cuda":
        return _refusal_of_card(
            torch.cuda.get_device_name(weight.device), torch.cuda.get_device_capability(weight.device), precision
        )
    return None


def _refusal_of_card(name: str, capability: tuple[int, int], precision: str) -> str | None:
    if precision not in OLDEST:
        return (
            f"in {precision} they only evaluate, as registers have no room for a step in exact products; "
            f"choose {' or '.join(OLDEST)}"
        )
    if capability < OLDEST[precision]:
        needed, own = (".".join(map(str, version)) for version in (OLDEST[precision], capability))
        return f"in {precision} they need a card of compute capability {needed} or higher; {name} has {own}"
    return None


@functools.cache
def _warn_once(reason: str) -> None:
    _log.warning(
        "the event network trains without the GPU's own kernels, several times slower than it could: %s", reason
    )
