// The graph network's forward and backward pass on a CPU: one call a batch.  Plain arrays in, plain arrays
// out.
//
// Why it is fast: the events of a batch do not see each other, so a batch is cut into slices of whole
// events, and a slice goes through the entire network before the next one starts.  Its edges pass each
// perceptron in tiles that stay in the core's own caches.  Of the edges only the normalised state of each
// iteration is kept; the backward pass computes hidden layers again, which costs less than to write them to
// memory and read them back.

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "fused_mlp.h"

namespace {

struct Block {
  Mlp edges;    // inputs: receiver, sender, edge, global
  Mlp nodes;    // node, sum of its edges, global
  Mlp globals;  // sum of nodes, sum of edges, global
};

constexpr int EDGE_FEATURES = 3, GLOBAL_FEATURES = 1;

// All perceptrons of the backbone, in the order of the state dict.
struct Layout {
  int64_t size = 0;
  Mlp node_encoder, edge_encoder, global_encoder;
  std::vector<Block> blocks;  // one for each iteration, or one that all share
  Mlp decoder;

  Layout(int node_features, int n_blocks)
      : node_encoder(node_features, size),
        edge_encoder(EDGE_FEATURES, size),
        global_encoder(GLOBAL_FEATURES, size),
        blocks(make_blocks(n_blocks, size)),
        decoder(HIDDEN, size) {}

  const Block& block(int iteration) const { return blocks[blocks.size() == 1 ? 0 : iteration]; }

  void transpose(const Real* parameters, Real* transposed) const {
    for (const Mlp* m : {&node_encoder, &edge_encoder, &global_encoder, &decoder})
      transpose_weights(*m, parameters, transposed);
    for (const Block& block : blocks)
      for (const Mlp* m : {&block.edges, &block.nodes, &block.globals})
        transpose_weights(*m, parameters, transposed);
  }

 private:
  static std::vector<Block> make_blocks(int n_blocks, int64_t& size) {
    std::vector<Block> blocks;
    for (int b = 0; b < n_blocks; b++)
      blocks.push_back({Mlp(4 * HIDDEN, size), Mlp(3 * HIDDEN, size), Mlp(3 * HIDDEN, size)});
    return blocks;
  }
};

// ---- a batch, and its slices --------------------------------------------------------------------

struct Batch {
  int node_features, iterations, n_blocks;
  const Real* nodes;           // [n_nodes, node_features], scaled
  const Real* angles;          // [n_nodes, 2]: eta, phi
  const Real* globals;         // [n_events, 1], scaled
  const Real* edge_mean;       // [3]
  const Real* edge_deviation;  // [3]
  const int64_t* offsets;      // [n_events + 1]
  int64_t n_events;
};

struct Slice {
  int thread;
  int64_t first_event, first_node;
  int n_events, n_nodes, n_edges;
  int64_t saved;  // where its states begin among all saved numbers
};

// The states of a slice.  Where no backward pass will follow, each iteration writes over the one before.
class Saved {
 public:
  Saved(Real* base, const Slice& s, int iterations, bool keep)
      : next_(base), keep_(keep), n_nodes_(s.n_nodes), n_events_(s.n_events) {
    edges_ = take_rows(s.n_edges, iterations + 1, false);  // the encoder's comes first
    nodes_ = take_rows(s.n_nodes, iterations + 1, true);
    globals_ = take_rows(s.n_events, iterations + 2, true);  // the decoder's comes last
    for (Real** each : {&receiver_terms_, &sender_terms_, &node_sums_})
      *each = take(int64_t(s.n_nodes) * HIDDEN * (keep ? iterations : 1));
    for (Real** each : {&sums_of_nodes_, &sums_of_edges_})
      *each = take(int64_t(s.n_events) * HIDDEN * (keep ? iterations : 1));
    size = next_ - base;
  }

  int64_t size;

  Trace edges(int stage) const { return at(edges_, stage); }  // neither hidden nor states
  Trace nodes(int stage) const { return at(nodes_, stage); }
  Trace globals(int stage) const { return at(globals_, stage); }
  Real* receiver_terms(int i) const { return of_nodes(receiver_terms_, i); }
  Real* sender_terms(int i) const { return of_nodes(sender_terms_, i); }
  Real* node_sums(int i) const { return of_nodes(node_sums_, i); }  // sum_j y_ij
  Real* sums_of_nodes(int i) const { return of_events(sums_of_nodes_, i); }
  Real* sums_of_edges(int i) const { return of_events(sums_of_edges_, i); }

 private:
  struct Rows {
    Trace first;
    int64_t rows;
  };

  Real* take(int64_t numbers) {
    Real* taken = next_;
    next_ += (numbers + 15) / 16 * 16;  // keeps everything on cache lines
    return taken;
  }

  Rows take_rows(int64_t rows, int stages, bool all) {
    const int64_t n = rows * (keep_ ? stages : 1);
    Trace trace{};
    trace.normal = take(n * HIDDEN);
    trace.inverse = take(n);
    if (all) {
      trace.hidden = take(n * HIDDEN);
      trace.states = take(n * HIDDEN);
    }
    return {trace, rows};
  }

  Trace at(const Rows& r, int stage) const { return keep_ ? from_row(r.first, stage * r.rows) : r.first; }
  Real* of_nodes(Real* base, int i) const { return keep_ ? row(base, i * n_nodes_) : base; }
  Real* of_events(Real* base, int i) const { return keep_ ? row(base, i * n_events_) : base; }

  Real* next_;
  bool keep_;
  int64_t n_nodes_, n_events_;
  Rows edges_, nodes_, globals_;
  Real *receiver_terms_, *sender_terms_, *node_sums_, *sums_of_nodes_, *sums_of_edges_;
};

constexpr int64_t SLICE_ROWS = 2048;  // of edges, nodes and globals: half a megabyte a state

// The slices in the order of their events.  Threads get contiguous shares of about equal work: a function of the
// batch and the number of threads alone, so that sums come out the same every time.
std::vector<Slice> cut(const Batch& batch, int threads, bool keep) {
  auto n_nodes = [&](int64_t e) { return batch.offsets[e + 1] - batch.offsets[e]; };
  auto n_edges = [&](int64_t e) { return n_nodes(e) * (n_nodes(e) - 1); };
  auto n_rows = [&](int64_t e) { return n_edges(e) + n_nodes(e) + 1; };
  // products of 64 x 64 in an iteration, forward and backward
  auto work = [&](int64_t e) { return 15 * n_edges(e) + 23 * n_nodes(e) + 24; };
  int64_t total = 0;
  for (int64_t e = 0; e < batch.n_events; e++) total += work(e);

  std::vector<Slice> slices;
  int64_t rows = 0, done = 0, saved = 0;
  for (int64_t e = 0; e < batch.n_events; e++) {
    const int thread = done * threads / total;
    if (slices.empty() || thread != slices.back().thread || rows + n_rows(e) > SLICE_ROWS) {
      slices.push_back({thread, e, batch.offsets[e], 0, 0, 0, 0});
      rows = 0;
    }
    Slice& s = slices.back();
    s.n_events += 1;
    s.n_nodes += n_nodes(e);
    s.n_edges += n_edges(e);
    rows += n_rows(e);
    done += work(e);
  }
  for (Slice& s : slices) {
    s.saved = saved;
    if (keep) saved += Saved(nullptr, s, batch.iterations, true).size;
  }
  return slices;
}

// A thread's memory, used for one slice after the other.
struct Workspace {
  std::vector<int> event_of_node, receiver, sender;
  std::vector<Real> features, edge_gradient, node_gradient, receiver_gradient, sender_gradient, sum_gradient,
      global_gradient, event_work, event_term;
  std::unique_ptr<Tiles> tiles = std::make_unique<Tiles>();
};

// ---- one slice through the network --------------------------------------------------------------

class SlicePass {
 public:
  SlicePass(const Batch& batch, const Slice& slice, const Layout& layout, const Parameters& parameters,
            const Saved& saved, Workspace& workspace)
      : batch(batch),
        s(slice),
        layout(layout),
        p(parameters),
        saved(saved),
        w(workspace),
        t(*workspace.tiles) {
    list_edges();
    term = resized(w.event_term, s.n_events);
  }

  void forward(Real* output) {
    encode(s.n_nodes, p, layout.node_encoder, node_features(), saved.nodes(0).hidden);
    rows_forward(s.n_nodes, p, layout.node_encoder, saved.nodes(0), t);
    encode(s.n_events, p, layout.global_encoder, global_features(), saved.globals(0).hidden);
    rows_forward(s.n_events, p, layout.global_encoder, saved.globals(0), t);
    for_tiles(s.n_edges, [&](int first, int n) {
      encode(n, p, layout.edge_encoder, edge_features(first), t.hidden[0].data());
      tail_forward(n, p, layout.edge_encoder, edge_trace(0, first), t);
    });
    for (int i = 0; i < batch.iterations; i++) {
      edges_forward(i);
      nodes_forward(i);
      globals_forward(i);
    }
    const Real* z = saved.globals(batch.iterations).states;
    Trace last = saved.globals(batch.iterations + 1);
    last.states = row(output, s.first_event);
    p.first_layer<Start::BIAS, End::RELU>(s.n_events, layout.decoder, 0, z, last.hidden);
    rows_forward(s.n_events, p, layout.decoder, last, t);
  }

  void backward(const Real* output_gradient) {
    gx = resized(w.node_gradient, s.n_nodes);
    gy = resized(w.edge_gradient, s.n_edges);
    gz = resized(w.global_gradient, s.n_events);
    ga = resized(w.receiver_gradient, s.n_nodes);
    gb = resized(w.sender_gradient, s.n_nodes);
    gs = resized(w.sum_gradient, s.n_nodes);
    work = resized(w.event_work, s.n_events);
    clear(s.n_nodes, gx);  // the last nodes act through the last globals only

    std::copy_n(row(output_gradient, s.first_event), s.n_events * HIDDEN, work);
    rows_backward(s.n_events, p, layout.decoder, saved.globals(batch.iterations + 1), work, t);
    p.add_weight_gradient(s.n_events, layout.decoder, 0, 0, work, saved.globals(batch.iterations).states);
    p.first_layer_backward<Start::ZERO>(s.n_events, layout.decoder, 0, work, gz);
    for (int i = batch.iterations - 1; i >= 0; i--) {
      globals_backward(i);
      nodes_backward(i);
      edges_backward(i);
    }
    for_tiles(s.n_edges, [&](int first, int n) {
      encode(n, p, layout.edge_encoder, edge_features(first), t.hidden[0].data());
      const Real* g = tail_backward(n, p, layout.edge_encoder, edge_trace(0, first), row(gy, first), t);
      add_encoder_gradient(n, p, layout.edge_encoder, g, edge_features(first));
    });
    rows_backward(s.n_nodes, p, layout.node_encoder, saved.nodes(0), gx, t);
    add_encoder_gradient(s.n_nodes, p, layout.node_encoder, gx, node_features());
    rows_backward(s.n_events, p, layout.global_encoder, saved.globals(0), gz, t);
    add_encoder_gradient(s.n_events, p, layout.global_encoder, gz, global_features());
  }

 private:
  // Iteration i leads from stage i of nodes (x), edges (y) and globals (z) to stage i + 1.

  void edges_forward(int i) {
    const Mlp& m = layout.block(i).edges;
    const Real *x = saved.nodes(i).states, *z = saved.globals(i).states;
    Real *a = saved.receiver_terms(i), *b = saved.sender_terms(i), *sums = saved.node_sums(i);
    p.first_layer<Start::BIAS>(s.n_events, m, 3, z, term);
    for_nodes([&](int node, int event) { copy_row(row(a, node), row(term, event)); });
    p.first_layer<Start::ADD>(s.n_nodes, m, 0, x, a);
    p.first_layer<Start::ZERO>(s.n_nodes, m, 1, x, b);
    clear(s.n_nodes, sums);
    for_tiles(s.n_edges, [&](int first, int n) {
      edge_first_layer(i, first, n);
      const Trace tile = edge_trace(i + 1, first);
      tail_forward(n, p, m, tile, t);
      scale_and_shift(n, p, m, tile.normal, t.output.data());
      for (int r = 0; r < n; r++) add_row(row(sums, w.receiver[first + r]), row(t.output.data(), r));
    });
  }

  void nodes_forward(int i) {
    const Mlp& m = layout.block(i).nodes;
    const Trace next = saved.nodes(i + 1);
    p.first_layer<Start::BIAS>(s.n_events, m, 2, saved.globals(i).states, term);
    for_nodes([&](int node, int event) { copy_row(row(next.hidden, node), row(term, event)); });
    p.first_layer<Start::ADD>(s.n_nodes, m, 0, saved.nodes(i).states, next.hidden);
    p.first_layer<Start::ADD, End::RELU>(s.n_nodes, m, 1, saved.node_sums(i), next.hidden);
    rows_forward(s.n_nodes, p, m, next, t);
  }

  void globals_forward(int i) {
    const Mlp& m = layout.block(i).globals;
    const Trace next = saved.globals(i + 1);
    sum_over_events(saved.nodes(i + 1).states, saved.sums_of_nodes(i));
    sum_over_events(saved.node_sums(i), saved.sums_of_edges(i));  // an event's edges are those of its nodes
    p.first_layer<Start::BIAS>(s.n_events, m, 0, saved.sums_of_nodes(i), next.hidden);
    p.first_layer<Start::ADD>(s.n_events, m, 1, saved.sums_of_edges(i), next.hidden);
    p.first_layer<Start::ADD, End::RELU>(s.n_events, m, 2, saved.globals(i).states, next.hidden);
    rows_forward(s.n_events, p, m, next, t);
  }

  // Takes gx and gz of stage i + 1; leaves gx as it stands there, gz of stage i and, in gs, what the sums
  // of edges owe to the globals.
  void globals_backward(int i) {
    const Mlp& m = layout.block(i).globals;
    rows_backward(s.n_events, p, m, saved.globals(i + 1), gz, t);
    p.add_weight_gradient(s.n_events, m, 0, 0, gz, saved.sums_of_nodes(i));
    p.add_weight_gradient(s.n_events, m, 0, 1, gz, saved.sums_of_edges(i));
    p.add_weight_gradient(s.n_events, m, 0, 2, gz, saved.globals(i).states);
    p.first_layer_backward<Start::ZERO>(s.n_events, m, 0, gz, term);
    for_nodes([&](int node, int event) { add_row(row(gx, node), row(term, event)); });
    p.first_layer_backward<Start::ZERO>(s.n_events, m, 1, gz, term);
    for_nodes([&](int node, int event) { copy_row(row(gs, node), row(term, event)); });
    p.first_layer_backward<Start::ZERO>(s.n_events, m, 2, gz, work);
    std::swap(gz, work);
  }

  // Takes gx of stage i + 1; leaves gx of stage i but for the edges' part, adds to gs and gz.
  void nodes_backward(int i) {
    const Mlp& m = layout.block(i).nodes;
    rows_backward(s.n_nodes, p, m, saved.nodes(i + 1), gx, t);
    p.add_weight_gradient(s.n_nodes, m, 0, 0, gx, saved.nodes(i).states);
    p.add_weight_gradient(s.n_nodes, m, 0, 1, gx, saved.node_sums(i));
    p.first_layer_backward<Start::ADD>(s.n_nodes, m, 1, gx, gs);
    globals_part_backward(i, m, 2, gx);
    p.first_layer_backward<Start::ZERO>(s.n_nodes, m, 0, gx, ga);
    std::swap(gx, ga);
  }

  // Takes gs and gy of stage i + 1; leaves gy of stage i, adds to gx and gz.
  void edges_backward(int i) {
    const Mlp& m = layout.block(i).edges;
    const bool last = i == batch.iterations - 1;  // its edges act through the sums only
    clear(s.n_nodes, ga);
    clear(s.n_nodes, gb);
    for_tiles(s.n_edges, [&](int first, int n) {
      edge_first_layer(i, first, n);
      Real* out = t.gradient.data();
      for (int r = 0; r < n; r++) {
        copy_row(row(out, r), row(gs, w.receiver[first + r]));
        if (!last) add_row(row(out, r), row(gy, first + r));
      }
      const Real* g = tail_backward(n, p, m, edge_trace(i + 1, first), out, t);
      p.add_weight_gradient(n, m, 0, 2, g, t.input.data());
      p.first_layer_backward<Start::ZERO>(n, m, 2, g, row(gy, first));
      for (int r = 0; r < n; r++) {
        add_row(row(ga, w.receiver[first + r]), row(g, r));
        add_row(row(gb, w.sender[first + r]), row(g, r));
      }
    });
    p.add_weight_gradient(s.n_nodes, m, 0, 0, ga, saved.nodes(i).states);
    p.add_weight_gradient(s.n_nodes, m, 0, 1, gb, saved.nodes(i).states);
    p.first_layer_backward<Start::ADD>(s.n_nodes, m, 0, ga, gx);
    p.first_layer_backward<Start::ADD>(s.n_nodes, m, 1, gb, gx);
    globals_part_backward(i, m, 3, ga);
  }

  // The globals' part of a first layer, whose sum has the gradient g at each node.
  void globals_part_backward(int i, const Mlp& m, int part, const Real* g) {
    sum_over_events(g, work);
    p.add_weight_gradient(s.n_events, m, 0, part, work, saved.globals(i).states);
    p.first_layer_backward<Start::ADD>(s.n_events, m, part, work, gz);
  }

  // The first layer of the edges of one tile, into t.hidden[0], and the edges before it, into t.input.
  // Receiver, sender and global (in the receiver's term) were multiplied once for each node.
  void edge_first_layer(int i, int first, int n) {
    const Mlp& before = i == 0 ? layout.edge_encoder : layout.block(i - 1).edges;
    const Mlp& m = layout.block(i).edges;
    Real* sums = t.hidden[0].data();
    for (int r = 0; r < n; r++) {
      copy_row(row(sums, r), row(saved.receiver_terms(i), w.receiver[first + r]));
      add_row(row(sums, r), row(saved.sender_terms(i), w.sender[first + r]));
    }
    scale_and_shift(n, p, before, row(saved.edges(i).normal, first), t.input.data());
    p.first_layer<Start::ADD, End::RELU>(n, m, 2, t.input.data(), sums);
  }

  Trace edge_trace(int stage, int first) {
    const Trace edges = saved.edges(stage);
    return {t.hidden[0].data(), row(edges.normal, first), edges.inverse + first, nullptr};
  }

  // The edges of an event: its nodes as receivers in order, for each all others as senders in order.
  void list_edges() {
    w.event_of_node.resize(s.n_nodes);
    w.receiver.resize(s.n_edges);
    w.sender.resize(s.n_edges);
    w.features.resize(int64_t(s.n_edges) * EDGE_FEATURES);
    int edge = 0;
    for (int e = 0; e < s.n_events; e++) {
      const int begin = batch.offsets[s.first_event + e] - s.first_node;
      const int end = batch.offsets[s.first_event + e + 1] - s.first_node;
      for (int i = begin; i < end; i++) {
        w.event_of_node[i] = e;
        for (int j = begin; j < end; j++)
          if (i != j) {
            w.receiver[edge] = i;
            w.sender[edge] = j;
            measure_edge(edge++);
          }
      }
    }
  }

  // d_eta, d_phi in [-pi, pi), d_R of receiver minus sender, standardised.
  void measure_edge(int edge) {
    const Real pi = 3.14159265358979323846;
    const Real* to = batch.angles + 2 * (s.first_node + w.receiver[edge]);
    const Real* from = batch.angles + 2 * (s.first_node + w.sender[edge]);
    const Real d_eta = to[0] - from[0];
    Real d_phi = std::fmod(to[1] - from[1] + pi, 2 * pi);
    d_phi += (d_phi < 0 ? 2 * pi : 0) - pi;
    const Real raw[EDGE_FEATURES] = {d_eta, d_phi, std::sqrt(d_eta * d_eta + d_phi * d_phi)};
    for (int f = 0; f < EDGE_FEATURES; f++)
      w.features[int64_t(edge) * EDGE_FEATURES + f] = (raw[f] - batch.edge_mean[f]) / batch.edge_deviation[f];
  }

  const Real* node_features() const { return batch.nodes + s.first_node * batch.node_features; }
  const Real* global_features() const { return batch.globals + s.first_event * GLOBAL_FEATURES; }
  const Real* edge_features(int first) const { return w.features.data() + int64_t(first) * EDGE_FEATURES; }

  template <class F>
  void for_nodes(F f) {
    for (int node = 0; node < s.n_nodes; node++) f(node, w.event_of_node[node]);
  }

  void sum_over_events(const Real* of_nodes, Real* of_events) {
    clear(s.n_events, of_events);
    for_nodes([&](int node, int event) { add_row(row(of_events, event), row(of_nodes, node)); });
  }

  static void clear(int64_t rows, Real* matrix) { std::fill_n(matrix, rows * HIDDEN, Real(0)); }

  static Real* resized(std::vector<Real>& memory, int64_t rows) {
    memory.resize(rows * HIDDEN);
    return memory.data();
  }

  const Batch& batch;
  const Slice& s;
  const Layout& layout;
  const Parameters& p;
  const Saved& saved;
  Workspace& w;
  Tiles& t;
  Real *term, *work;   // [n_events, 64], for a moment
  Real *gx, *gy, *gz;  // gradients of nodes, edges and globals between two iterations
  Real *ga, *gb, *gs;  // of receiver terms, sender terms and sums of edges within one
};

// ---- threads ------------------------------------------------------------------------------------

// Calls f(thread, its slices) for every thread.
template <class F>
void in_threads(int threads, const std::vector<Slice>& slices, F f) {
  std::vector<std::vector<Slice>> shares(threads);
  for (const Slice& s : slices) shares[s.thread].push_back(s);
  std::vector<std::thread> others;
  for (int k = 1; k < threads; k++) others.emplace_back(f, k, std::cref(shares[k]));
  f(0, shares[0]);
  for (std::thread& other : others) other.join();
}

}  // namespace

// ---- entry points -------------------------------------------------------------------------------

extern "C" {

// Length of the flat array of parameters.
int64_t fused_parameters(const Batch* batch) { return Layout(batch->node_features, batch->n_blocks).size; }

// How many numbers fused_forward keeps for fused_backward.
int64_t fused_saved(const Batch* batch, int threads) {
  const std::vector<Slice> slices = cut(*batch, threads, true);
  if (slices.empty()) return 0;
  return slices.back().saved + Saved(nullptr, slices.back(), batch->iterations, true).size;
}

// output: [n_events, 64].  transposed: as long as the parameters, filled here for fused_backward.
// saved: fused_saved numbers, on a cache line; null where no backward pass will follow.
void fused_forward(const Batch* batch, int threads, const Real* parameters, Real* transposed, Real* saved,
                   Real* output) {
  const Layout layout(batch->node_features, batch->n_blocks);
  layout.transpose(parameters, transposed);
  const Parameters p{parameters, transposed, nullptr};
  const bool keep = saved != nullptr;
  in_threads(threads, cut(*batch, threads, keep), [&](int, const std::vector<Slice>& slices) {
    Workspace workspace;
    std::vector<Real> memory;
    for (const Slice& s : slices) {
      if (!keep) memory.resize(Saved(nullptr, s, batch->iterations, false).size);
      const Saved states(keep ? saved + s.saved : memory.data(), s, batch->iterations, keep);
      SlicePass(*batch, s, layout, p, states, workspace).forward(output);
    }
  });
}

// gradients: as long as the parameters, written over.  The rest as fused_forward had and left it.
void fused_backward(const Batch* batch, int threads, const Real* parameters, const Real* transposed,
                    Real* saved, const Real* output_gradient, Real* gradients) {
  const Layout layout(batch->node_features, batch->n_blocks);
  std::vector<std::vector<Real>> sums(threads);
  in_threads(threads, cut(*batch, threads, true), [&](int thread, const std::vector<Slice>& slices) {
    sums[thread].assign(layout.size, Real(0));
    const Parameters p{parameters, transposed, sums[thread].data()};
    Workspace workspace;
    for (const Slice& s : slices) {
      const Saved states(saved + s.saved, s, batch->iterations, true);
      SlicePass(*batch, s, layout, p, states, workspace).backward(output_gradient);
    }
  });
  std::copy(sums[0].begin(), sums[0].end(), gradients);
  for (int thread = 1; thread < threads; thread++)
    for (int64_t k = 0; k < layout.size; k++) gradients[k] += sums[thread][k];
}

}  // extern "C"
