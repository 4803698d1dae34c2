"""Training steps of K event networks side by side, in kernels: see Engine.

A step is some sixty launches that never wait for the host, so that it can be captured as one CUDA graph, whatever the
sizes of the batches are. Every run gives the same bits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from triton.runtime import driver

from breakeven.models.event_network import EventNetwork
from breakeven.models.gpu import refusal
from breakeven.models.gpu.backward import OBJECTIVES, Backward
from breakeven.models.gpu.batch import Batch
from breakeven.models.gpu.columns import Columns
from breakeven.models.gpu.forward import Forward
from breakeven.models.gpu.launch import Launch, compile_all
from breakeven.models.gpu.networks import Networks, Room
from breakeven.models.gpu.tiles import Tiling, processors, table

N_REGRESSION_LABELS = 5
"""Of the multilabel objective: the first labels, whose loss is the squared error."""

_SAMPLE = 65536
"""Events looked at to know what an average batch holds."""
_SCALED = ("node", "edge", "global")
_N_SCALED = 11
"""Features that are scaled: 7 of nodes, 3 of edges, 1 of the event."""


class Engine:
    """K networks of one shape that train together on events of one dataset, each with batches, rates and steps of its own.

    models: networks with equal config() and float32 weights, on the events' device; their weights are copied.
    nodes: [n_objects, 7] float32, offsets: [n_events + 1] int64, as in EventNetwork.forward; used where they lie.
    objective: "binary", "multiclass" or "multilabel", as in training/objectives.py; the first N_REGRESSION_LABELS
    of "multilabel" are regressions.
    room: for the largest batches. The loss of networks whose events find no room is NaN.
    precision: "float32", "tf32" or "bfloat16", of the matrix products in backward; weights, sums, loss and Adam are
    float32, and so are all products without gradients; in bfloat16 those over events, which are few, are tf32.
    typical: offsets of events that say what an average batch holds; None: `offsets`.

    What a step reads, to be filled on the device before it:
    index: [K, batch] int64, numbers of events.  target: [K, batch] int64 class numbers, [K, batch] float32 zeros and ones,
    or [K, batch, n_outputs] float32 labels.  count: [K] int32, how many of a network's slots hold an event; what lies in
    the others is never read.  divisor: [K] int32, what loss and gradient are divided by: the count over all workers; a
    network whose divisor is 0 takes no step, and its weights and moments keep their bits.
    rates: [K, 2] float32, the head's and the backbone's learning rate.
    What it leaves: loss: [K], over the divisor.  weights, gradient: [K, n_parameters], columns as StackedNetwork has them.
    first, second: [K, n_parameters], Adam's moments.  steps: [K] float64, those taken.
    A NaN stays in its network. Raises ValueError with the reason where `refusal` has one, or for a room too large.
    """

    def __init__(
        self,
        models: Sequence[EventNetwork],
        nodes: Tensor,
        offsets: Tensor,
        room: Room,
        *,
        objective: str,
        precision: str,
        typical: Tensor | None = None,
    ) -> None:
        like, device, n, batch = models[0], nodes.device, len(models), room.slots
        if any(model.config() != like.config() for model in models):
            raise ValueError(f"the {n} networks have several configurations; side by side they must have one")
        reason = refusal(like, precision)
        if reason is not None:
            raise ValueError(f"the GPU's own kernels do not serve here: {reason}")
        if objective not in OBJECTIVES:
            raise ValueError(f"objective is {objective!r}; choose {', '.join(OBJECTIVES)}")
        self._like = like
        self._columns, self._average = Columns(like), _rows_per_event(offsets if typical is None else typical)
        self.n_parameters = self._columns.n_parameters
        rows = [torch.zeros(n, self._columns.width, device=device) for _ in range(4)]
        self.weights, self.gradient, self.first, self.second = (row[:, : self.n_parameters] for row in rows)
        self.steps = torch.zeros(n, dtype=torch.float64, device=device)
        self.divisor = torch.zeros(n, dtype=torch.int32, device=device)
        self.rates, self.loss = torch.zeros(n, 2, device=device), torch.zeros(n, device=device)
        self._scaling = torch.ones(n, 2, 16, device=device)
        labels = (like.n_outputs,) if objective == "multilabel" else ()
        kind = torch.int64 if objective == "multiclass" else torch.float32
        self.target = torch.zeros(n, batch, *labels, dtype=kind, device=device)
        self._outputs = torch.zeros(n, batch, like.n_outputs, device=device)

        made = Batch(room, device)
        self.index, self.count = made.index, made.count
        make = made.launches(nodes, offsets, self._scaling, bool(like.scaling.log_momenta))
        networks = self._networks(rows[0], batch, precision)
        forward = Forward(networks, made, keep=True)
        of_loss = {"OBJECTIVE": OBJECTIVES[objective], "N_REGRESSION": N_REGRESSION_LABELS, "target": self.target}
        backward = Backward(networks, made, forward, rows[1], divisor=self.divisor, **of_loss)
        self._loss_shares = backward.loss
        self._backward = [*make, *forward.launches(), *backward.launches()]
        names = ("gradient", "first", "second")
        of_step = {"rates": self.rates, "divisor": self.divisor, "steps": self.steps}
        self._update = networks.adam(dict(zip(names, rows[1:], strict=True)) | of_step)
        exact = Forward(self._networks(rows[0], batch, "float32"), made, keep=False)
        self._predict = [*make, *exact.launches(), exact.head(self._outputs)]
        for k, model in enumerate(models):
            self.load(k, model)

    @property
    def launches(self) -> list[Launch]:
        """All kernels of backward, update and predict."""
        return [*self._backward, self._update, *self._predict]

    def compile(self) -> int:
        """Compile all its kernels for this card in parallel, into Triton's cache; how many that are.

        Without it the first step compiles one after the other, for more than a minute. See launch.compile_all.
        """
        return compile_all(self.launches, driver.active.get_current_target())

    def backward(self) -> None:
        """Make the batches, and set `loss` and `gradient`. Several workers may add up both before `update`."""
        for launch in self._backward:
            launch.run()
        torch.sum(self._loss_shares, 0, out=self.loss)

    def update(self) -> None:
        """A step of Adam (torch.optim.Adam's formulas, default betas and epsilon) from `gradient`."""
        self._update.run()
        self.steps.add_(self.divisor > 0)

    def predict(self) -> Tensor:
        """The outputs [K, batch, n_outputs] for `index`; those from a network's count on mean nothing."""
        for launch in self._predict:
            launch.run()
        return self._outputs

    def load(self, k: int, model: EventNetwork) -> None:
        """Set network k's weights and scaling to those of `model`."""
        with torch.no_grad():
            self.weights[k] = torch.cat([parameter.reshape(-1) for parameter in model.parameters()])
            for row, statistic in enumerate(("mean", "std")):
                of_features = [getattr(model.scaling, f"{name}_{statistic}") for name in _SCALED]
                self._scaling[k, row, :_N_SCALED] = torch.cat(of_features)

    def _networks(self, weights: Tensor, slots: int, precision: str) -> Networks:
        device = weights.device
        rows = {over: n * slots for over, n in self._average.items()}
        tiling = Tiling(table(device.type != "cuda", precision), processors(device), len(weights), rows)
        return Networks(self._like.iterations, self._like.n_outputs, self._columns, weights, tiling, precision)


def _rows_per_event(offsets: Tensor) -> dict[str, float]:
    """Edges and nodes of an average event, from the first ones."""
    n = offsets[: _SAMPLE + 1].diff().double()
    return {"edges": float((n * (n - 1)).mean()), "nodes": float(n.mean()), "events": 1.0}
