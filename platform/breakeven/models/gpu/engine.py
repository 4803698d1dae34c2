"""Training steps of K event networks side by side, in kernels: see Engine.

A step is some sixty launches that never wait for the host, so that it can be captured as one CUDA graph, whatever the
sizes of the batches are. Every run gives the same bits.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from triton.runtime import driver

from breakeven.models.event_network import EventNetwork
from breakeven.models.gpu import refusal
from breakeven.models.gpu.columns import Columns
from breakeven.models.gpu.launch import Launch, compile_all
from breakeven.models.gpu.passes import OBJECTIVES, Backward, Batch, Forward, Networks, Room, adam_launch
from breakeven.models.gpu.tiles import Tiling, processors, table

N_REGRESSION_LABELS = 5
"""Of the multilabel objective: the first labels, whose loss is the squared error."""

_EVALUATION_SLOTS = 8192
"""Events at once without gradients: enough to fill a card, little enough to need no second thought."""
_SAMPLE = 65536
"""Events looked at to know what an average batch holds."""
_SCALED = ("node", "edge", "global")
_N_SCALED = 11
"""Features that are scaled: 7 of nodes, 3 of edges, 1 of the event."""


class Engine:
    """K networks of one shape that train together on events of one dataset, each with batches, rates and steps of its own.

    models: networks with equal config() and float32 weights, on the events' device; their weights are copied.
    nodes: [n_objects, 7] float32, offsets: [n_events + 1] int64, as in EventNetwork.forward; used where they lie.
    objective: "binary", "multiclass" or "multilabel", as in training/objectives.py; the first `n_regression` labels of
    "multilabel" are regressions.
    batch, most_nodes, most_edges: events, objects and edges of the largest batch of one network. Larger ones find no room
    where networks together have more than K times that: their loss is NaN, and check_room says why.
    precision: "float32", "tf32" or "bfloat16", of the matrix products in backward; weights, sums, loss and Adam are
    float32, and so are all products without gradients.

    What a step reads, to be filled on the device before it:
    index: [K, batch] int64, numbers of events.  target: [K, batch] int64 class numbers, [K, batch] float32 zeros and ones,
    or [K, batch, n_outputs] float32 labels.  count: [K] int32, how many of a network's slots hold an event; what lies in
    the others is never read.  divisor: [K] int32, what loss and gradient are divided by: the count over all workers; a
    network whose divisor is 0 takes no step, and its weights and moments keep their bits.
    rates: [K, 2] float32, the head's and the backbone's learning rate.
    What it leaves: loss: [K], over the divisor.  weights, gradient: [K, n_parameters], columns as StackedNetwork has them.
    first, second: [K, n_parameters], Adam's moments.  steps: [K] float64, those taken.
    A NaN stays in its network. Raises ValueError with the reason where `refusal` has one, or for a batch too large.
    """

    def __init__(
        self,
        models: Sequence[EventNetwork],
        nodes: Tensor,
        offsets: Tensor,
        *,
        objective: str,
        batch: int,
        most_nodes: int,
        most_edges: int,
        precision: str,
        n_regression: int = N_REGRESSION_LABELS,
    ) -> None:
        like, device, n = models[0], nodes.device, len(models)
        if any(model.config() != like.config() for model in models):
            raise ValueError(f"the {n} networks have several configurations; side by side they must have one")
        reason = refusal(like, precision)
        if reason is not None:
            raise ValueError(f"the GPU's own kernels do not serve here: {reason}")
        if objective not in OBJECTIVES:
            raise ValueError(f"objective is {objective!r}; choose {', '.join(OBJECTIVES)}")
        self._like, self._nodes, self._offsets = like, nodes, offsets
        self._columns, self._average = Columns(like), _rows_per_event(offsets)
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

        made = Batch(Room(n, batch, n * most_nodes, n * most_edges), device)
        self._batch, self.index, self.count = made, made.index, made.count
        make = made.launches(nodes, offsets, self._scaling, bool(like.scaling.log_momenta))
        networks = self._networks(rows[0], batch, precision)
        forward = Forward(networks, made, keep=True)
        backward = Backward(networks, made, forward, objective, n_regression, self.target, self.divisor, rows[1])
        self._loss_shares = backward.loss
        self._backward = [*make, *forward.launches(), *backward.launches()]
        names = ("gradient", "first", "second")
        of_step = {"rates": self.rates, "divisor": self.divisor, "steps": self.steps}
        self._update = adam_launch(networks, dict(zip(names, rows[1:], strict=True)) | of_step)
        exact = self._networks(rows[0], batch, "float32")
        forward = Forward(exact, made, keep=False)
        self._predict = [*make, *forward.launches(), forward.outputs(exact, self._outputs)]
        self._evaluation: _Evaluation | None = None
        for k, model in enumerate(models):
            self.load(k, model)

    @property
    def launches(self) -> list[Launch]:
        """All kernels of backward, update and predict."""
        return [*self._backward, self._update, *self._predict]

    def compile(self, processes: int | None = None) -> int:
        """Compile all its kernels for this card in parallel, into Triton's cache; how many that are.

        Without it the first step compiles one after the other, for more than a minute. See launch.compile_all.
        """
        return compile_all(self.launches, driver.active.get_current_target(), processes)

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

    def outputs(self, k: int, index: Tensor) -> Tensor:
        """Network k's outputs [n, n_outputs] for the events `index` [n] int64, as EventNetwork.forward gives them."""
        return self._evaluate(k, index, head=True)

    def represent(self, k: int, index: Tensor) -> Tensor:
        """What network k's head sees of the events `index` [n] int64, [n, 64], as EventNetwork.represent gives it."""
        return self._evaluate(k, index, head=False)

    def load(self, k: int, model: EventNetwork) -> None:
        """Set network k's weights and scaling to those of `model`."""
        with torch.no_grad():
            self.weights[k] = torch.cat([parameter.reshape(-1) for parameter in model.parameters()])
            for row, statistic in enumerate(("mean", "std")):
                of_features = [getattr(model.scaling, f"{name}_{statistic}") for name in _SCALED]
                self._scaling[k, row, :_N_SCALED] = torch.cat(of_features)

    def copy_to(self, k: int, model: EventNetwork) -> None:
        """Set the weights and the scaling of `model` to network k's."""
        with torch.no_grad():
            _fill(list(model.parameters()), self.weights[k])
            for row, statistic in enumerate(("mean", "std")):
                of_features = [getattr(model.scaling, f"{name}_{statistic}") for name in _SCALED]
                _fill(of_features, self._scaling[k, row, :_N_SCALED])

    def reset(self, k: int) -> None:
        """Let Adam begin again for network k."""
        for state in (self.first, self.second, self.steps):
            state[k].zero_()

    def check_room(self) -> None:
        """Raise ValueError if the last batches had more nodes or edges than there is room for. Waits for the device.

        Nothing is ever written beyond the buffers: networks whose events have no room get a NaN as their loss.
        """
        room = self._batch.room
        nodes, edges = self._batch.wanted.tolist()
        if nodes > room.nodes or edges > room.edges:
            raise ValueError(
                f"the batches of {room.networks} networks had {nodes} nodes and {edges} edges where there is room for "
                f"{room.nodes} and {room.edges}: the step is void; give most_nodes and most_edges of the largest batch"
            )

    def _evaluate(self, k: int, index: Tensor, head: bool) -> Tensor:
        found = self.weights.new_empty(len(index), self._like.n_outputs if head else 64)
        if len(index) == 0:
            return found
        slots = min(len(index), _EVALUATION_SLOTS)
        objects = self._offsets[index + 1] - self._offsets[index]
        sizes = [part.sum() for counts in (objects, objects * (objects - 1)) for part in counts.split(slots)]
        nodes, edges = torch.stack(sizes).view(2, -1).amax(1).tolist()
        evaluation = self._evaluation
        if evaluation is None or not evaluation.has_room(slots, nodes, edges):
            networks = self._networks(self.weights[:1], slots, "float32")
            evaluation = self._evaluation = _Evaluation(networks, Room(1, slots, nodes, edges))
        of_events = (self._nodes, self._offsets, self._scaling[k:], bool(self._like.scaling.log_momenta))
        launches = evaluation.launches(self.weights[k:], *of_events)
        for start in range(0, len(index), slots):
            part = index[start : start + slots]
            evaluation.batch.index[0, : len(part)] = part
            evaluation.batch.count.fill_(len(part))
            for launch in launches:
                launch.run()
            rows = evaluation.outputs if head else evaluation.forward.output
            found[start : start + len(part)] = rows[: len(part)]
        return found

    def _networks(self, weights: Tensor, slots: int, precision: str) -> Networks:
        device = weights.device
        rows = {over: n * slots for over, n in self._average.items()}
        tiling = Tiling(table(device.type != "cuda", precision), processors(device), len(weights), rows)
        return Networks(self._like.iterations, self._like.n_outputs, self._columns, weights, tiling, precision)


class _Evaluation:
    """Buffers to evaluate one network at a time on batches of up to `room`."""

    def __init__(self, networks: Networks, room: Room) -> None:
        self.batch = Batch(room, networks.weights.device)
        self.forward = Forward(networks, self.batch, keep=False)
        self.outputs = torch.zeros(room.slots, networks.n_outputs, device=networks.weights.device)
        self._networks = networks

    def has_room(self, slots: int, nodes: int, edges: int) -> bool:
        """Whether batches of `slots` events with that many nodes and edges fit."""
        room = self.batch.room
        return slots <= room.slots and nodes <= room.nodes and edges <= room.edges

    def launches(self, weights: Tensor, events: Tensor, offsets: Tensor, scaling: Tensor, log: bool) -> list[Launch]:
        """Batch, forward and head of the network whose weights and scaling come first."""
        networks = replace(self._networks, weights=weights[:1])
        make = self.batch.launches(events, offsets, scaling, log)
        return [*make, *self.forward.launches(networks), self.forward.outputs(networks, self.outputs)]


def _rows_per_event(offsets: Tensor) -> dict[str, float]:
    """Edges and nodes of an average event, from the first ones."""
    n = offsets[: _SAMPLE + 1].diff().double()
    return {"edges": float((n * (n - 1)).mean()), "nodes": float(n.mean()), "events": 1.0}


def _fill(tensors: Sequence[Tensor], flat: Tensor) -> None:
    """Copy `flat` to tensors, one after the other."""
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
