"""The launches from a batch's features to outputs, in their order, and the buffers in between."""

from typing import Any

import torch
from torch import Tensor

from breakeven.models.gpu.batch import Batch
from breakeven.models.gpu.kernels import dense, edges, encoder, head
from breakeven.models.gpu.launch import Launch
from breakeven.models.gpu.networks import ENCODED, ENCODERS, Networks, padded


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

    def launches(self) -> list[Launch]:
        """All of them, up to the decoder's output."""
        return [
            *(
                self._launch(encoder.encoder_forward, over, ENCODERS[over], Y=outputs[0], F=ENCODED[over])
                for over, outputs in (("nodes", self.x), ("edges", self.y), ("events", self.z))
            ),
            *(launch for i in range(self._networks.iterations) for launch in self._iteration(i)),
            self._launch(
                dense.dense_forward, "events", "decoder", KIND=dense.DECODER, N_IN=64, X=self.x[0], S=self.x[0],
                Z=self.z[-1], sum_x=self.sum_x[0], sum_s=self.sum_s[0], first_layer=self.decoder_first, output=self.output,
            ),
        ]  # fmt: skip

    def head(self, outputs: Tensor) -> Launch:
        """The head on the decoder's output, to outputs [rows, n_outputs]."""
        n = self._networks.n_outputs
        return self._launch(head.head_forward, "events", "head", X=self.output, outputs=outputs, N=n, PAD=padded(n))

    def _iteration(self, i: int) -> list[Launch]:
        """Edges, their sums over each receiver, then nodes, then globals."""
        block, x, z, messages = f"blocks.{i}", self.x[i], self.z[i], self.messages[i]
        terms = {"from_receiver": self.from_receiver[i], "from_sender": self.from_sender[i]}
        dense_inputs = {"S": messages, "Z": z, "sum_x": self.sum_x[i], "sum_s": self.sum_s[i], "N_IN": 192}
        sums = {"Y": self.y[i + 1], "incoming": messages, "outgoing": messages, "BOTH": False}
        return [
            self._launch(edges.terms_forward, "nodes", f"{block}.edges", X=x, Z=z, **terms),
            self._launch(edges.edges_forward, "edges", f"{block}.edges", Y=self.y[i], updated=self.y[i + 1], **terms),
            self._networks.launch(edges.edge_sums, "nodes sums", self._batch.over("nodes"), **sums),
            self._launch(
                dense.dense_forward, "nodes", f"{block}.nodes", KIND=dense.NODES, X=x,
                first_layer=self.nodes_first[i], output=self.x[i + 1], **dense_inputs,
            ),
            self._launch(
                dense.dense_forward, "events", f"{block}.globals", KIND=dense.GLOBALS, X=self.x[i + 1],
                first_layer=self.globals_first[i], output=self.z[i + 1], **dense_inputs,
            ),
        ]  # fmt: skip

    def _launch(self, kernel: Any, over: str, mlp: str, **own: Any) -> Launch:
        common = {**self._batch.over(over), **self._networks.of(mlp)}
        return self._networks.launch(kernel, f"{over} forward", common, **own)
