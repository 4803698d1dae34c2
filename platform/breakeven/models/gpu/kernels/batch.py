"""Kernels that make a batch: from event numbers to features, and to who sends to whom. Sizes never leave the device.

Formulas as in graph.py and scaling.py. The edges of a receiver lie side by side, ascending in the sender.
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["batch", "n_slots", "most_nodes", "most_edges"])
def lay_out(
    offsets, index, count, node_ptr, edge_ptr, node_rows, edge_rows, event_rows, wanted, lost,
    batch, n_slots, most_nodes, most_edges, BLOCK: tl.constexpr,
):  # fmt: skip
    """Where each event's nodes and edges begin, and the rows of each network. One program.

    index: [K, batch] int64.  count: [K] int32; slots from count on hold no event.  n_slots: K * batch.
    node_ptr, edge_ptr: [n_slots + 1] int32.  *_rows: [K, 2] int32, first row and end.
    wanted: [2] int32, nodes and edges of all events. Where those are more than most_nodes or most_edges, the events from
    the first that does not fit on are laid out as empty, and lost: [K] int32 tells whose they are.
    """
    nodes_wanted, edges_wanted = tl.full([], 0, tl.int32), tl.full([], 0, tl.int32)
    nodes, edges = tl.full([], 0, tl.int32), tl.full([], 0, tl.int32)
    for start in range(0, n_slots, BLOCK):
        slot = start + tl.arange(0, BLOCK)
        inside = slot < n_slots
        network = slot // batch
        place = slot - network * batch
        n_events = tl.load(count + network, mask=inside, other=0)
        real = inside & (place < n_events)
        event = tl.load(index + slot, mask=real, other=0)
        n = tl.load(offsets + event + 1, mask=real, other=0) - tl.load(offsets + event, mask=real, other=0)
        n = n.to(tl.int32)
        pairs = n * (n - 1)
        fits = (nodes_wanted + tl.cumsum(n, 0) <= most_nodes) & (edges_wanted + tl.cumsum(pairs, 0) <= most_edges)
        nodes_wanted += tl.sum(n, 0)
        edges_wanted += tl.sum(pairs, 0)
        n, pairs = tl.where(fits, n, 0), tl.where(fits, pairs, 0)
        node_end, edge_end = nodes + tl.cumsum(n, 0), edges + tl.cumsum(pairs, 0)
        tl.store(node_ptr + slot + 1, node_end, mask=inside)
        tl.store(edge_ptr + slot + 1, edge_end, mask=inside)
        begins, ends = inside & (place == 0), inside & (place == batch - 1)
        tl.store(node_rows + 2 * network, node_end - n, mask=begins)
        tl.store(edge_rows + 2 * network, edge_end - pairs, mask=begins)
        tl.store(event_rows + 2 * network, slot, mask=begins)
        tl.store(event_rows + 2 * network + 1, slot + n_events, mask=begins)
        tl.store(lost + network, 0, mask=begins)
        tl.store(node_rows + 2 * network + 1, node_end, mask=ends)
        tl.store(edge_rows + 2 * network + 1, edge_end, mask=ends)
        nodes += tl.sum(n, 0)
        edges += tl.sum(pairs, 0)
        tl.debug_barrier()  # after the zeros
        tl.store(lost + network, 1, mask=real & ~fits)
    tl.store(wanted, nodes_wanted)
    tl.store(wanted + 1, edges_wanted)
    tl.store(node_ptr, 0)
    tl.store(edge_ptr, 0)


@triton.jit(do_not_specialize=["batch"])
def build(
    events, offsets, index, node_ptr, edge_ptr, scaling, batch,
    node_features, edge_features, event_features, receiver, sender, event_of, first_edge,
    LOG_MOMENTA: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Scaled features and pairs of one event; one program per event, in tiles of TILE x TILE pairs.

    events: [n_objects, 7], offsets: [n_events + 1] int64, of the whole dataset.
    scaling: [K, 2, 16], means and deviations of 7 node, 3 edge and 1 global features.
    node_features: [nodes, 7].  edge_features: [edges, 3].  event_features: [slots, 1].
    event_of, first_edge: [nodes] int32, the slot of each node and its first incoming edge.
    """
    slot = tl.program_id(0)
    mean = scaling + (slot // batch) * 32
    deviation = mean + 16
    first_node = tl.load(node_ptr + slot)
    n = tl.load(node_ptr + slot + 1) - first_node
    edges = tl.load(edge_ptr + slot)
    event = tl.load(index + slot, mask=n > 0, other=0)
    source = tl.load(offsets + event)
    tl.store(event_features + slot, (n.to(tl.float32) - tl.load(mean + 10)) / tl.load(deviation + 10))
    k = tl.arange(0, 8)[None, :]
    of_node = tl.load(mean + k, mask=k < 7, other=0.0)
    by_node = tl.load(deviation + k, mask=k < 7, other=1.0)
    for r0 in range(0, n, TILE):
        r = r0 + tl.arange(0, TILE)
        inside = r < n
        both = inside[:, None] & (k < 7)
        feature = tl.load(events + (source + r)[:, None] * 7 + k, mask=both, other=1.0)
        if LOG_MOMENTA:
            momentum = tl.log(tl.where(feature < 1.0, 1.0, feature))  # and not maximum, which would hide a NaN
            feature = tl.where((k == 0) | (k == 3), momentum, feature)
        tl.store(node_features + (first_node + r)[:, None] * 7 + k, (feature - of_node) / by_node, mask=both)
        tl.store(event_of + first_node + r, slot + 0 * r, mask=inside)
        tl.store(first_edge + first_node + r, edges + r * (n - 1), mask=inside)
        eta_r = tl.load(events + (source + r) * 7 + 1, mask=inside, other=0.0)[:, None]
        phi_r = tl.load(events + (source + r) * 7 + 2, mask=inside, other=0.0)[:, None]
        for s0 in range(0, n, TILE):
            s = s0 + tl.arange(0, TILE)
            eta_s = tl.load(events + (source + s) * 7 + 1, mask=s < n, other=0.0)[None, :]
            phi_s = tl.load(events + (source + s) * 7 + 2, mask=s < n, other=0.0)[None, :]
            pair = inside[:, None] & (s < n)[None, :] & (r[:, None] != s[None, :])
            edge = edges + r[:, None] * (n - 1) + s[None, :] - (s[None, :] > r[:, None]).to(tl.int32)
            tl.store(receiver + edge, first_node + r[:, None] + 0 * s[None, :], mask=pair)
            tl.store(sender + edge, first_node + s[None, :] + 0 * r[:, None], mask=pair)
            d_eta = eta_r - eta_s
            d_phi = phi_r - phi_s + 3.141592653589793
            d_phi = d_phi - tl.floor(d_phi / 6.283185307179586) * 6.283185307179586 - 3.141592653589793
            d_r = tl.sqrt(d_eta * d_eta + d_phi * d_phi)
            at = edge_features + edge * 3
            tl.store(at, (d_eta - tl.load(mean + 7)) / tl.load(deviation + 7), mask=pair)
            tl.store(at + 1, (d_phi - tl.load(mean + 8)) / tl.load(deviation + 8), mask=pair)
            tl.store(at + 2, (d_r - tl.load(mean + 9)) / tl.load(deviation + 9), mask=pair)
