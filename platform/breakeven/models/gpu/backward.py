"""The launches from the decoder's output to loss and gradient, in their order, and the buffers in between."""

from typing import Any

import torch
from torch import Tensor

from breakeven.models.gpu.batch import Batch
from breakeven.models.gpu.forward import Forward
from breakeven.models.gpu.kernels import adam, dense, edges, encoder, head
from breakeven.models.gpu.launch import Launch
from breakeven.models.gpu.networks import ENCODED, ENCODERS, Networks, padded

OBJECTIVES = {"binary": head.BINARY, "multiclass": head.MULTICLASS, "multilabel": head.MULTILABEL}

_MOST_REGISTERS = 255
"""Of a thread. Said for kernels that ptxas 12.8 would give 32 on an 8.0, spilling thousands of bytes; not for others, which
do with fewer registers, and more programs, where it is left out."""


class Backward:
    """From the decoder's output to the loss and the gradient of all parameters.

    loss: [programs, K], shares of it.  slabs: [programs, K, columns.slab_width].  gradient: [K, columns.width].
    of_loss: what head.head_backward takes besides the network: target, divisor, OBJECTIVE, N_REGRESSION.
    """

    def __init__(self, networks: Networks, batch: Batch, forward: Forward, gradient: Tensor, **of_loss: Any) -> None:
        self._networks, self._batch, self._forward = networks, batch, forward
        self._gradient, self._of_loss = gradient, of_loss
        device, room, columns = networks.weights.device, batch.room, networks.columns

        def buffer(over: str, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(room.rows(over), 64, dtype=dtype, device=device)

        programs = [networks.tiling.cut(f"{over} backward").programs for over in ("edges", "nodes", "events")]
        self._programs = columns.programs(*programs).to(device)
        self.slabs = torch.zeros(max(programs), room.networks, columns.slab_width, device=device)
        self.loss = torch.zeros(programs[2], room.networks, device=device)
        self._of_x, self._of_zn = buffer("nodes"), buffer("nodes")
        self._of_messages = buffer("nodes", networks.state)
        self._of_receiver, self._of_sender = buffer("nodes"), buffer("nodes")
        self._of_edges = [buffer("edges", networks.state) for _ in range(2)]
        self._of_sum_x, self._of_sum_s, self._of_z, self._of_output = (buffer("events") for _ in range(4))

    def launches(self) -> list[Launch]:
        """All of them, the loss first and the sum over slabs last."""
        return [
            self._head(),
            self._decoder(),
            *(launch for i in reversed(range(self._networks.iterations)) for launch in self._iteration(i)),
            *self._encoder(),
            self._sum_of_slabs(),
        ]

    def _head(self) -> Launch:
        n = self._networks.n_outputs
        outputs = {"of_x": self._of_output, "loss": self.loss}
        return self._launch(
            head.head_backward, "events", "head", X=self._forward.output, N=n, PAD=padded(n), **outputs, **self._of_loss
        )

    def _decoder(self) -> Launch:
        forward, last = self._forward, self._networks.iterations - 1
        inputs = {"X": forward.sum_x[last], "S": forward.sum_s[last], "Z": forward.z[-1]}
        return self._dense_over_events(
            "decoder", **inputs, first_layer=forward.decoder_first, gradient=self._of_output,
            KIND=dense.DECODER, LAST=True, N_IN=64,
        )  # fmt: skip

    def _iteration(self, i: int) -> list[Launch]:
        """The backward pass of an iteration: globals, nodes, then edges."""
        networks, forward, last = self._networks, self._forward, i == self._networks.iterations - 1
        block, gradient, x, z = f"blocks.{i}", self._of_edges[i % 2], forward.x[i], forward.z[i]
        following = networks.of(f"blocks.{i if last else i + 1}.edges")["W"]
        terms = {"from_receiver": forward.from_receiver[i], "from_sender": forward.from_sender[i]}
        return [
            self._dense_over_events(
                f"{block}.globals", X=forward.sum_x[i], S=forward.sum_s[i], Z=z, first_layer=forward.globals_first[i],
                gradient=self._of_z, KIND=dense.GLOBALS, LAST=last, N_IN=192,
            ),
            self._launch(
                dense.dense_backward, "nodes", f"{block}.nodes", X=x, S=forward.messages[i], Z=z,
                first_layer=forward.nodes_first[i], gradient=self._of_x, of_event_x=self._of_sum_x,
                of_event_s=self._of_sum_s, of_x=self._of_x, of_s=self._of_messages, of_z=self._of_zn,
                KIND=dense.NODES, LAST=last, N_IN=192,
            ),
            self._launch(
                edges.edges_backward, "edges", f"{block}.edges", Y=forward.y[i], of_sums=self._of_messages,
                of_next=self._of_edges[(i + 1) % 2], W_next=following, gradient=gradient, LAST=last, **terms,
            ),
            networks.launch(
                edges.edge_sums, "nodes sums", self._batch.over("nodes"), Y=gradient, incoming=self._of_receiver,
                outgoing=self._of_sender, BOTH=True,
            ),
            self._launch(
                edges.terms_backward, "nodes", f"{block}.edges", X=x, Z=z, of_receiver=self._of_receiver,
                of_sender=self._of_sender, of_x=self._of_x, of_z=self._of_zn, maxnreg=_MOST_REGISTERS,
            ),
        ]  # fmt: skip

    def _encoder(self) -> list[Launch]:
        of_first_block = self._networks.of("blocks.0.edges")["W"][128:]
        gradients = {"edges": self._of_edges[0], "nodes": self._of_x, "events": self._of_z}
        return [
            self._launch(
                encoder.encoder_backward, over, ENCODERS[over], gradient=gradient, C=of_first_block,
                of_nodes=self._of_zn, F=ENCODED[over], maxnreg=_MOST_REGISTERS,
            )
            for over, gradient in gradients.items()
        ]  # fmt: skip

    def _sum_of_slabs(self) -> Launch:
        columns = self._networks.columns
        sizes = {"slab_width": columns.slab_width, "n_networks": len(self._networks.weights), "width": columns.width}
        shared = {"shared_begin": columns.blocks_begin, "shared_width": columns.block_width, "REPEATS": columns.repeats}
        sums = {"slabs": self.slabs, "programs": self._programs, "gradient": self._gradient}
        return self._networks.launch_over_columns(adam.sum_slabs, {**sums, **sizes, **shared})

    def _dense_over_events(self, mlp: str, **own: Any) -> Launch:
        gradients = {
            "of_event_x": self._of_zn,
            "of_event_s": self._of_zn,
            "of_x": self._of_sum_x,
            "of_s": self._of_sum_s,
        }
        return self._launch(dense.dense_backward, "events", mlp, of_z=self._of_z, **gradients, **own)

    def _launch(self, kernel: Any, over: str, mlp: str, **own: Any) -> Launch:
        networks = self._networks
        slab = {"G": self.slabs[0, 0, networks.columns.of_slab(mlp) :], "slab_width": networks.columns.slab_width}
        common = {**self._batch.over(over), **networks.of(mlp), **slab}
        return networks.launch(kernel, f"{over} backward", common, **own)
