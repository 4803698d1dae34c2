"""The launches of a step in their order: a batch is made, goes forward, its loss and gradient go back, Adam takes a step.

Also the buffers in between. The sizes of a batch are known on the device alone: the buffers have room for the largest.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from breakeven.models.gpu.columns import Columns
from breakeven.models.gpu.kernels import adam, batch, dense, edges, encoder, head
from breakeven.models.gpu.launch import Launch
from breakeven.models.gpu.tiles import Cut, Tiling

OBJECTIVES = {"binary": head.BINARY, "multiclass": head.MULTICLASS, "multilabel": head.MULTILABEL}

_MOST_ROWS = 2**31 // 64
"""The kernels count the numbers of a buffer [rows, 64] in 32 bits."""
_MOST_REGISTERS = 255
"""Of a thread. Said for kernels that ptxas 12.8 would give 32 on an 8.0, spilling thousands of bytes; not for others, which
do with fewer registers, and more programs, where it is left out."""
_ENCODED = {"nodes": encoder.NODES, "edges": encoder.EDGES, "events": encoder.EVENTS}
_OPERANDS = {"float32": tl.float32, "tf32": tl.float32, "bfloat16": tl.bfloat16}


@dataclass(frozen=True)
class Room:
    """What the largest batch needs: networks, slots for each one's events, nodes and edges of all networks together.

    Raises ValueError where it is too little for any event or too much for the kernels.
    """

    networks: int
    slots: int
    nodes: int
    edges: int

    def __post_init__(self) -> None:
        for name, least in (("networks", 1), ("slots", 1), ("nodes", 1), ("edges", 0)):
            if not least <= getattr(self, name) < _MOST_ROWS:
                raise ValueError(
                    f"a batch with room for {getattr(self, name)} {name} is asked for; the kernels take from {least} to "
                    f"{_MOST_ROWS - 1}: choose another batch size"
                )

    def rows(self, over: str) -> int:
        """Of a buffer over "nodes", "edges" or "events"; at least one, so that it has an address."""
        return max(1, {"nodes": self.nodes, "edges": self.edges, "events": self.networks * self.slots}[over])


class Batch:
    """The events of K networks as the kernels of batch.py make them, which has the shapes.

    index: [K, slots] int64, numbers of events.  count: [K] int32, how many of a network's slots hold one.
    wanted: [2] int32, nodes and edges of all of them.  lost: [K] int32, whether there was no room for some of a network's.
    """

    def __init__(self, room: Room, device: torch.device) -> None:
        def numbers(*shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        n_slots, nodes, edges = room.rows("events"), room.rows("nodes"), room.rows("edges")
        self.room = room
        self.index = numbers(room.networks, room.slots, dtype=torch.int64)
        self.count, self.wanted, self.lost = numbers(room.networks), numbers(2), numbers(room.networks)
        self.node_ptr, self.edge_ptr = numbers(n_slots + 1), numbers(n_slots + 1)
        self.rows = {over: numbers(room.networks, 2) for over in ("nodes", "edges", "events")}
        self.features = {
            "nodes": numbers(nodes, 7, dtype=torch.float32),
            "edges": numbers(edges, 3, dtype=torch.float32),
            "events": numbers(n_slots, 1, dtype=torch.float32),
        }
        self.pairs = {"receiver": numbers(edges), "sender": numbers(edges)}
        self.event_of, self.first_edge = numbers(nodes), numbers(nodes)

    def launches(self, events: Tensor, offsets: Tensor, scaling: Tensor, log_momenta: bool) -> list[Launch]:
        """Make the batch from the dataset's events [n_objects, 7] and offsets [n_events + 1]; scaling: [K, 2, 16]."""
        slots, n_slots = self.room.slots, self.room.rows("events")
        numbers = {"offsets": offsets, "index": self.index, "node_ptr": self.node_ptr, "edge_ptr": self.edge_ptr}
        rows = {"node_rows": self.rows["nodes"], "edge_rows": self.rows["edges"], "event_rows": self.rows["events"]}
        features = {f"{over[:-1]}_features": feature for over, feature in self.features.items()}
        of_nodes = {"event_of": self.event_of, "first_edge": self.first_edge}
        most = {"most_nodes": self.room.nodes, "most_edges": self.room.edges}
        room = {**most, "wanted": self.wanted, "lost": self.lost}
        return [
            Launch(
                batch.lay_out,
                (1,),
                {**numbers, **rows, **room, "count": self.count, "batch": slots, "n_slots": n_slots},
                {"BLOCK": 4096, "num_warps": 16},
            ),
            Launch(
                batch.build,
                (n_slots,),
                {**numbers, **features, **self.pairs, **of_nodes, "events": events, "scaling": scaling, "batch": slots},
                {"LOG_MOMENTA": log_momenta, "TILE": 16, "num_warps": 1},
            ),
        ]


@dataclass(frozen=True)
class Networks:
    """K networks of one shape: their parameters, and how kernels run on them.

    weights: [K, columns.width].  tiling: how rows are cut.  precision: "float32", "tf32" or "bfloat16".
    """

    iterations: int
    n_outputs: int
    columns: Columns
    weights: Tensor
    tiling: Tiling
    precision: str

    @property
    def state(self) -> torch.dtype:
        """How the edges' values lie in memory."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def of(self, mlp: str) -> dict[str, Any]:
        """Where the kernels find the weights of an MLP."""
        return {"W": self.weights[0, self.columns.of_weight(mlp) :], "stride": self.columns.width}

    def launch(self, kernel: Any, cut: Cut, arguments: dict[str, Any], **constants: Any) -> Launch:
        """A kernel over rows."""
        of_products = {}
        if "OP" in kernel.arg_names:
            of_products = {"OP": _OPERANDS[self.precision], "PREC": products(self.precision, self.weights.device)}
        cutting = {"BLOCK": cut.rows, "num_warps": cut.warps, "num_stages": 1}
        plain = {name: value.value if isinstance(value, tl.constexpr) else value for name, value in constants.items()}
        return Launch(kernel, (cut.programs, len(self.weights)), arguments, {**plain, **of_products, **cutting})


class Forward:
    """From features to the decoder's output.

    x, y, z: nodes, edges and globals after the encoder and after each iteration, [rows, 64] each.
    keep: everything that the backward pass needs; else each iteration writes over the last one's values.
    """

    def __init__(self, networks: Networks, batch: Batch, keep: bool) -> None:
        self._networks, self._batch = networks, batch
        device, room, state = networks.weights.device, batch.room, networks.state

        def buffers(n: int, over: str, dtype: torch.dtype = torch.float32) -> list[Tensor]:
            made = [torch.zeros(room.rows(over), 64, dtype=dtype, device=device) for _ in range(n if keep else 1)]
            return made if keep else made * n

        n = networks.iterations
        self.x, self.y, self.z = buffers(n + 1, "nodes"), buffers(n + 1, "edges", state), buffers(n + 1, "events")
        self.from_receiver, self.from_sender = buffers(n, "nodes", state), buffers(n, "nodes", state)
        self.messages, self.nodes_first = buffers(n, "nodes"), buffers(n, "nodes")
        self.sum_x, self.sum_s, self.globals_first = buffers(n, "events"), buffers(n, "events"), buffers(n, "events")
        self.decoder_first, self.output = buffers(1, "events")[0], buffers(1, "events")[0]

    def launches(self, networks: Networks | None = None) -> list[Launch]:
        """All of them; networks: others than at first, of the same number, shape and precision."""
        networks, batch = networks or self._networks, self._batch
        over_edges, over_nodes, over_events = (
            networks.tiling.cut(f"{over} forward") for over in ("edges", "nodes", "events")
        )
        sums = networks.tiling.cut("nodes sums")
        graph = {"event_of": batch.event_of, "node_ptr": batch.node_ptr}
        found = []
        for over, mlp, cut, output in (
            ("nodes", "nodes", over_nodes, self.x[0]),
            ("edges", "edges", over_edges, self.y[0]),
            ("events", "globals", over_events, self.z[0]),
        ):
            arguments = {"rows": batch.rows[over], "features": batch.features[over], "Y": output}
            weights = networks.of(f"encoder.{mlp}")
            found.append(networks.launch(encoder.encoder_forward, cut, weights | arguments, F=_ENCODED[over]))
        for i in range(networks.iterations):
            of_edges, of_nodes, of_globals = (networks.of(f"blocks.{i}.{mlp}") for mlp in ("edges", "nodes", "globals"))
            x, y, z, messages = self.x[i], self.y[i], self.z[i], self.messages[i]
            terms = {"from_receiver": self.from_receiver[i], "from_sender": self.from_sender[i]}
            found.append(
                networks.launch(
                    edges.terms_forward,
                    over_nodes,
                    {**of_edges, **terms, "node_rows": batch.rows["nodes"], "X": x, "Z": z, "event_of": batch.event_of},
                )
            )
            found.append(
                networks.launch(
                    edges.edges_forward,
                    over_edges,
                    {
                        **of_edges,
                        **terms,
                        **batch.pairs,
                        "edge_rows": batch.rows["edges"],
                        "Y": y,
                        "updated": self.y[i + 1],
                    },
                )
            )
            found.append(
                networks.launch(
                    edges.edge_sums,
                    sums,
                    {
                        **graph,
                        "node_rows": batch.rows["nodes"],
                        "first_edge": batch.first_edge,
                        "Y": self.y[i + 1],
                        "incoming": messages,
                        "outgoing": messages,
                    },
                    BOTH=False,
                )
            )
            event_sums = {"sum_x": self.sum_x[i], "sum_s": self.sum_s[i]}
            of_both = {**graph, **event_sums, "S": messages, "Z": z}
            found.append(
                networks.launch(
                    dense.dense_forward,
                    over_nodes,
                    {
                        **of_nodes,
                        **of_both,
                        "rows": batch.rows["nodes"],
                        "X": x,
                        "first_layer": self.nodes_first[i],
                        "output": self.x[i + 1],
                    },
                    KIND=dense.NODES,
                    N_IN=192,
                )
            )
            found.append(
                networks.launch(
                    dense.dense_forward,
                    over_events,
                    {
                        **of_globals,
                        **of_both,
                        "rows": batch.rows["events"],
                        "X": self.x[i + 1],
                        "first_layer": self.globals_first[i],
                        "output": self.z[i + 1],
                    },
                    KIND=dense.GLOBALS,
                    N_IN=192,
                )
            )
        unused = {"X": self.x[0], "S": self.x[0], "sum_x": self.sum_x[0], "sum_s": self.sum_s[0]}
        decoding = {
            "rows": batch.rows["events"],
            "Z": self.z[-1],
            "first_layer": self.decoder_first,
            "output": self.output,
        }
        found.append(
            networks.launch(
                dense.dense_forward,
                over_events,
                {**networks.of("decoder"), **graph, **unused, **decoding},
                KIND=dense.DECODER,
                N_IN=64,
            )
        )
        return found

    def outputs(self, networks: Networks, outputs: Tensor) -> Launch:
        """The head on the decoder's output, to outputs [rows, n_outputs]."""
        arguments = {"event_rows": self._batch.rows["events"], "X": self.output, "outputs": outputs}
        size = {"N": networks.n_outputs, "PAD": padded(networks.n_outputs)}
        cut = networks.tiling.cut("events forward")
        return networks.launch(head.head_forward, cut, networks.of("head") | arguments, **size)


class Backward:
    """From the decoder's output to the loss and the gradient of all parameters.

    loss: [programs, K], shares of it.  slabs: [programs, K, columns.slab_width].  gradient: [K, columns.width].
    target: by objective, see head.head_backward.  divisor: [K] int32.
    """

    def __init__(
        self,
        networks: Networks,
        batch: Batch,
        forward: Forward,
        objective: str,
        n_regression: int,
        target: Tensor,
        divisor: Tensor,
        gradient: Tensor,
    ) -> None:
        self._networks, self._batch, self._forward = networks, batch, forward
        self._objective, self._n_regression = OBJECTIVES[objective], n_regression
        self._target, self._divisor, self._gradient = target, divisor, gradient
        device, room, columns = networks.weights.device, batch.room, networks.columns

        def buffer(over: str, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(room.rows(over), 64, dtype=dtype, device=device)

        self._over_edges, self._over_nodes, self._over_events = (
            networks.tiling.cut(f"{over} backward") for over in ("edges", "nodes", "events")
        )
        programs = (self._over_edges.programs, self._over_nodes.programs, self._over_events.programs)
        self._programs = columns.programs(*programs).to(device)
        self.slabs = torch.zeros(max(programs), room.networks, columns.slab_width, device=device)
        self.loss = torch.zeros(self._over_events.programs, room.networks, device=device)
        self._of_x, self._of_zn = buffer("nodes"), buffer("nodes")
        self._of_messages = buffer("nodes", networks.state)
        self._of_receiver, self._of_sender = buffer("nodes"), buffer("nodes")
        self._of_edges = [buffer("edges", networks.state) for _ in range(2)]
        self._of_sum_x, self._of_sum_s, self._of_z, self._of_output = (buffer("events") for _ in range(4))

    def launches(self) -> list[Launch]:
        """All of them, the loss first and the sum over slabs last."""
        networks = self._networks
        found = [self._head(), self._dense("decoder", dense.DECODER, networks.iterations - 1)]
        for i in reversed(range(networks.iterations)):
            found.append(self._dense(f"blocks.{i}.globals", dense.GLOBALS, i))
            found.append(self._dense(f"blocks.{i}.nodes", dense.NODES, i))
            found.extend(self._edges(i))
        of_first_block = networks.of("blocks.0.edges")["W"][128:]
        for over, mlp, cut, gradient in (
            ("edges", "edges", self._over_edges, self._of_edges[0]),
            ("nodes", "nodes", self._over_nodes, self._of_x),
            ("events", "globals", self._over_events, self._of_z),
        ):
            arguments = {
                **self._of(f"encoder.{mlp}"),
                "rows": self._batch.rows[over],
                "features": self._batch.features[over],
                "gradient": gradient,
                "C": of_first_block,
                "of_nodes": self._of_zn,
                "node_ptr": self._batch.node_ptr,
            }
            found.append(
                networks.launch(encoder.encoder_backward, cut, arguments, F=_ENCODED[over], maxnreg=_MOST_REGISTERS)
            )
        columns, n_networks = networks.columns, len(networks.weights)
        sums = {
            "slabs": self.slabs,
            "slab_width": columns.slab_width,
            "programs": self._programs,
            "n_networks": n_networks,
            "gradient": self._gradient,
            "width": columns.width,
            "shared_begin": columns.blocks_begin,
            "shared_width": columns.block_width,
        }
        found.append(_over_columns(adam.sum_slabs, networks, sums, REPEATS=columns.repeats))
        return found

    def _of(self, mlp: str) -> dict[str, Any]:
        columns = self._networks.columns
        slabs = {"G": self.slabs[0, 0, columns.of_slab(mlp) :], "slab_width": columns.slab_width}
        return self._networks.of(mlp) | slabs

    def _head(self) -> Launch:
        arguments = {
            **self._of("head"),
            "event_rows": self._batch.rows["events"],
            "X": self._forward.output,
            "target": self._target,
            "divisor": self._divisor,
            "lost": self._batch.lost,
            "of_x": self._of_output,
            "loss": self.loss,
        }
        n = self._networks.n_outputs
        size = {"OBJECTIVE": self._objective, "N": n, "N_REGRESSION": self._n_regression, "PAD": padded(n)}
        return self._networks.launch(head.head_backward, self._over_events, arguments, **size)

    def _dense(self, mlp: str, kind: tl.constexpr, i: int) -> Launch:
        """The backward pass of an MLP on rows, in iteration i."""
        forward, batch = self._forward, self._batch
        common = {**self._of(mlp), "event_of": batch.event_of, "node_ptr": batch.node_ptr}
        constants = {
            "KIND": kind,
            "LAST": i == self._networks.iterations - 1,
            "N_IN": 64 if kind == dense.DECODER else 192,
        }
        if kind == dense.NODES:
            arguments = {
                "rows": batch.rows["nodes"],
                "X": forward.x[i],
                "S": forward.messages[i],
                "Z": forward.z[i],
                "first_layer": forward.nodes_first[i],
                "gradient": self._of_x,
                "of_event_x": self._of_sum_x,
                "of_event_s": self._of_sum_s,
                "of_x": self._of_x,
                "of_s": self._of_messages,
                "of_z": self._of_zn,
            }
            return self._networks.launch(dense.dense_backward, self._over_nodes, common | arguments, **constants)
        decoder = kind == dense.DECODER
        arguments = {
            "rows": batch.rows["events"],
            "X": forward.sum_x[i],
            "S": forward.sum_s[i],
            "Z": forward.z[-1] if decoder else forward.z[i],
            "first_layer": forward.decoder_first if decoder else forward.globals_first[i],
            "gradient": self._of_output if decoder else self._of_z,
            "of_event_x": self._of_zn,
            "of_event_s": self._of_zn,
            "of_x": self._of_sum_x,
            "of_s": self._of_sum_s,
            "of_z": self._of_z,
        }
        return self._networks.launch(dense.dense_backward, self._over_events, common | arguments, **constants)

    def _edges(self, i: int) -> list[Launch]:
        """The backward pass of iteration i's edges."""
        networks, forward, batch = self._networks, self._forward, self._batch
        last = i == networks.iterations - 1
        of_block, gradient = self._of(f"blocks.{i}.edges"), self._of_edges[i % 2]
        terms = {"from_receiver": forward.from_receiver[i], "from_sender": forward.from_sender[i]}
        of_rows = {
            **of_block,
            **terms,
            **batch.pairs,
            "edge_rows": batch.rows["edges"],
            "Y": forward.y[i],
            "of_sums": self._of_messages,
            "of_next": self._of_edges[(i + 1) % 2],
            "W_next": networks.of(f"blocks.{i if last else i + 1}.edges")["W"],
            "gradient": gradient,
        }
        of_sums = {
            "Y": gradient,
            "node_rows": batch.rows["nodes"],
            "event_of": batch.event_of,
            "node_ptr": batch.node_ptr,
            "first_edge": batch.first_edge,
            "incoming": self._of_receiver,
            "outgoing": self._of_sender,
        }
        of_terms = {
            **of_block,
            "node_rows": batch.rows["nodes"],
            "X": forward.x[i],
            "Z": forward.z[i],
            "event_of": batch.event_of,
            "of_receiver": self._of_receiver,
            "of_sender": self._of_sender,
            "of_x": self._of_x,
            "of_z": self._of_zn,
        }
        return [
            networks.launch(edges.edges_backward, self._over_edges, of_rows, LAST=last),
            networks.launch(edges.edge_sums, networks.tiling.cut("nodes sums"), of_sums, BOTH=True),
            networks.launch(edges.terms_backward, self._over_nodes, of_terms, maxnreg=_MOST_REGISTERS),
        ]


def adam_launch(networks: Networks, state: dict[str, Tensor]) -> Launch:
    """A step of Adam; state: the other tensors that adam.adam takes."""
    columns = networks.columns
    sizes = {"width": columns.width, "n_backbone": columns.n_backbone}
    return _over_columns(adam.adam, networks, {"weights": networks.weights, **state, **sizes})


def products(precision: str, device: torch.device) -> str:
    """tl.dot's input_precision. On a GPU float32 is six products of bfloat16 parts: the units for float32 itself would
    need thousands of registers."""
    if precision != "float32":
        return "tf32"
    return "bf16x6" if device.type == "cuda" else "ieee"


def padded(n_outputs: int) -> int:
    """Columns of the head's products, which take powers of two from 16 on."""
    return max(16, int(triton.next_power_of_2(n_outputs)))


def _over_columns(kernel: Any, networks: Networks, arguments: dict[str, Any], **constants: Any) -> Launch:
    tile = networks.tiling.columns
    grid = (triton.cdiv(networks.columns.width, tile.rows), len(networks.weights))
    return Launch(kernel, grid, arguments, {**constants, "BLOCK": tile.rows, "num_warps": tile.warps})
