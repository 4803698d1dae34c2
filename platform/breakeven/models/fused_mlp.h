// One multilayer perceptron of width 64 (four linear layers, ReLU between them, LayerNorm last) on a tile
// of rows, forward and backward, and the matrix products it is made of.  It knows nothing of events or
// graphs.
//
// Portable C++17 with the vector types that GCC and Clang share; -march=native gives the machine's widest.
// No fast-math: a NaN that goes in comes out.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

using std::int64_t;
using Real = REAL;  // from the command line: float, or double, which holds the formulas to the last digits

namespace {

constexpr int HIDDEN = 64;
constexpr int SQUARE = HIDDEN * HIDDEN;

// ---- vectors ------------------------------------------------------------------------------------

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64, VECTORS = 4;  // 6 rows x 4 vectors of sums fill 24 of 32 registers
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32, VECTORS = 2;  // 12 of 16
#elif defined(__aarch64__)
constexpr int VECTOR_BYTES = 16, VECTORS = 4;
#else
constexpr int VECTOR_BYTES = 16, VECTORS = 2;
#endif
constexpr int LANES = VECTOR_BYTES / sizeof(Real);
constexpr int BLOCK_ROWS = 6;  // rows of a product whose sums are held in registers at once

typedef Real Vector __attribute__((vector_size(VECTOR_BYTES)));

inline Vector load(const Real* p) {
  Vector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline void store(Real* p, Vector v) { std::memcpy(p, &v, sizeof v); }

// Applies `f` to the start of each vector in one row of 64.
template <class F>
inline void for_row(F f) {
  for (int k = 0; k < HIDDEN; k += LANES) f(k);
}

inline void copy_row(Real* to, const Real* from) { std::memcpy(to, from, HIDDEN * sizeof(Real)); }

inline void add_row(Real* to, const Real* from) {
  for_row([&](int k) { store(to + k, load(to + k) + load(from + k)); });
}

inline const Real* row(const Real* matrix, int64_t r) { return matrix + r * HIDDEN; }
inline Real* row(Real* matrix, int64_t r) { return matrix + r * HIDDEN; }

// ---- matrix products ----------------------------------------------------------------------------

// A product is added to nothing, to one row for all rows, or to what is there.
enum class Start { ZERO, BIAS, ADD };
enum class End { PLAIN, RELU };

// c[ROWS, 64] = start + a[ROWS, depth] w[depth, 64].  The strides of `a` are free, so that the same code
// gives a^T w, the gradient of a weight; rows of `w` and `c` are contiguous, w_row and c_row numbers apart.
template <int ROWS, Start START, End END>
inline void product_block(int depth, const Real* a, int64_t a_row, int64_t a_depth, const Real* w,
                          int64_t w_row, const Real* bias, Real* c, int64_t c_row) {
  for (int n = 0; n < HIDDEN; n += VECTORS * LANES) {
    Vector sum[ROWS][VECTORS];
    for (int r = 0; r < ROWS; r++)
      for (int v = 0; v < VECTORS; v++)
        sum[r][v] = START == Start::ZERO   ? Vector{}
                    : START == Start::BIAS ? load(bias + n + v * LANES)
                                           : load(c + r * c_row + n + v * LANES);
    for (int k = 0; k < depth; k++) {
      Vector wide[VECTORS];
      for (int v = 0; v < VECTORS; v++) wide[v] = load(w + k * w_row + n + v * LANES);
      for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < VECTORS; v++) sum[r][v] += a[r * a_row + k * a_depth] * wide[v];
    }
    for (int r = 0; r < ROWS; r++)
      for (int v = 0; v < VECTORS; v++) {
        Vector out = sum[r][v];
        if (END == End::RELU) out = out < 0 ? Vector{} : out;  // NaN < 0 is false: it stays
        store(c + r * c_row + n + v * LANES, out);
      }
  }
}

template <Start START, End END>
void product(int rows, int depth, const Real* a, int64_t a_row, int64_t a_depth, const Real* w, int64_t w_row,
             const Real* bias, Real* c, int64_t c_row) {
  auto block = [&](auto size) {
    product_block<size(), START, END>(depth, a, a_row, a_depth, w, w_row, bias, c, c_row);
    a += size() * a_row;
    c += size() * c_row;
    rows -= size();
  };
  while (rows >= BLOCK_ROWS) block(std::integral_constant<int, BLOCK_ROWS>{});
  if (rows >= 4) block(std::integral_constant<int, 4>{});
  if (rows >= 2) block(std::integral_constant<int, 2>{});
  if (rows >= 1) block(std::integral_constant<int, 1>{});
}

// out[rows, 64] = start + in[rows, 64] w[64, 64]
template <Start START, End END = End::PLAIN>
void multiply(int rows, const Real* in, const Real* w, const Real* bias, Real* out, int64_t w_row = HIDDEN) {
  product<START, END>(rows, HIDDEN, in, HIDDEN, 1, w, w_row, bias, out, HIDDEN);
}

void add_column_sums(int rows, const Real* g, Real* sums) {
  for_row([&](int k) {
    Vector even = load(sums + k), odd{};  // two chains: an addition waits four cycles for the one before
    int r = 0;
    for (; r + 2 <= rows; r += 2) {
      even += load(row(g, r) + k);
      odd += load(row(g, r + 1) + k);
    }
    if (r < rows) even += load(row(g, r) + k);
    store(sums + k, even + odd);
  });
}

// ---- parameters ---------------------------------------------------------------------------------

// Where a perceptron's parameters lie in the flat array; order and layout are torch's, weights [out, in].
struct Mlp {
  int64_t width, weight[4], bias[4], scale, shift;

  // Takes the next places from `size` on.
  Mlp(int64_t inputs, int64_t& size) : width(inputs) {
    auto take = [&](int64_t numbers) { return (size += numbers) - numbers; };
    for (int l = 0; l < 4; l++) {
      weight[l] = take(HIDDEN * (l ? HIDDEN : width));
      bias[l] = take(HIDDEN);
    }
    scale = take(HIDDEN);
    shift = take(HIDDEN);
  }
};

// What a thread reads and writes of the parameters.  `transposed` holds each weight in its own place as
// [in, out]: so a forward product, too, reads contiguous rows.
//
// The first weight is cut into parts of 64 columns, one for each of the concatenated inputs.
struct Parameters {
  const Real* value;
  const Real* transposed;
  Real* gradient;

  template <Start START, End END = End::PLAIN>
  void first_layer(int rows, const Mlp& m, int part, const Real* in, Real* out) const {
    multiply<START, END>(rows, in, transposed + m.weight[0] + part * SQUARE, value + m.bias[0], out);
  }

  // From the gradient `g` of the first layer's sum to that of one of its inputs.
  template <Start START>
  void first_layer_backward(int rows, const Mlp& m, int part, const Real* g, Real* in_gradient) const {
    multiply<START>(rows, g, value + m.weight[0] + part * HIDDEN, nullptr, in_gradient, m.width);
  }

  void add_weight_gradient(int rows, const Mlp& m, int layer, int part, const Real* g, const Real* in) const {
    const int64_t width = layer ? HIDDEN : m.width;
    product<Start::ADD, End::PLAIN>(HIDDEN, rows, g, 1, HIDDEN, in, HIDDEN, nullptr,
                                    gradient + m.weight[layer] + part * HIDDEN, width);
  }
};

void transpose_weights(const Mlp& m, const Real* parameters, Real* transposed) {
  for (int l = 0; l < 4; l++) {
    const int64_t width = l ? HIDDEN : m.width;
    const Real* from = parameters + m.weight[l];
    Real* to = transposed + m.weight[l];
    for (int64_t first = 0; first < width; first += 16)  // a cache line of every row at a time
      for (int64_t o = 0; o < HIDDEN; o++)
        for (int64_t k = first; k < std::min(first + 16, width); k++)
          to[k * HIDDEN + o] = from[o * width + k];
  }
}

// ---- one perceptron on one tile -----------------------------------------------------------------

constexpr int TILE = 96;  // rows, a multiple of BLOCK_ROWS: 24 KiB in float32, half of a first-level cache
constexpr Real NORM_EPSILON = 1e-5;

struct Tile {
  alignas(64) Real numbers[TILE * HIDDEN];
  Real* data() { return numbers; }
};

struct Tiles {  // a thread's scratch
  Tile input, hidden[3], output, gradient, other;
};

// What a perceptron leaves behind for its backward pass, for consecutive rows: the first hidden layer after
// its ReLU, the normalised output and 1 / its standard deviation; and `states`, the output scaled and
// shifted.
struct Trace {
  Real *hidden, *normal, *inverse, *states;
};

template <class F>
void for_tiles(int rows, F f) {
  for (int first = 0; first < rows; first += TILE) f(first, std::min(TILE, rows - first));
}

// states[rows, 64] = normal x scale + shift
void scale_and_shift(int rows, const Parameters& p, const Mlp& m, const Real* normal, Real* states) {
  for_row([&](int k) {
    const Vector scale = load(p.value + m.scale + k), shift = load(p.value + m.shift + k);
    for (int r = 0; r < rows; r++) store(row(states, r) + k, load(row(normal, r) + k) * scale + shift);
  });
}

// Layers two and three, from the first hidden layer, into t.hidden.
void hidden_layers(int rows, const Parameters& p, const Mlp& m, const Real* hidden, Tiles& t) {
  for (int l = 1; l <= 2; l++) {
    multiply<Start::BIAS, End::RELU>(rows, hidden, p.transposed + m.weight[l], p.value + m.bias[l],
                                     t.hidden[l].data());
    hidden = t.hidden[l].data();
  }
}

// All that follows the first layer, on at most TILE rows: fills trace.normal and trace.inverse.
void tail_forward(int rows, const Parameters& p, const Mlp& m, const Trace& trace, Tiles& t) {
  hidden_layers(rows, p, m, trace.hidden, t);
  multiply<Start::BIAS>(rows, t.hidden[2].data(), p.transposed + m.weight[3], p.value + m.bias[3],
                        t.output.data());
  for (int r = 0; r < rows; r++) {
    const Real* c = row(t.output.data(), r);
    Real sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int k = 0; k < HIDDEN; k++) sum += c[k];
    const Real mean = sum / HIDDEN;
#pragma omp simd reduction(+ : squares)
    for (int k = 0; k < HIDDEN; k++) squares += (c[k] - mean) * (c[k] - mean);
    const Real inverse = 1 / std::sqrt(squares / HIDDEN + NORM_EPSILON);
    trace.inverse[r] = inverse;
    for_row([&](int k) { store(row(trace.normal, r) + k, (load(c + k) - mean) * inverse); });
  }
}

// From the gradient of the output (overwritten) to that of the first layer's sum before its ReLU; adds the
// gradients of all parameters but the first weight.  Returns a tile of `t`.
//
// Layer norm: with n a normalised row and q = gradient x scale, the sum's gradient is
// (q - mean(q) - n mean(q n)) / deviation.
Real* tail_backward(int rows, const Parameters& p, const Mlp& m, const Trace& trace, Real* gradient,
                    Tiles& t) {
  hidden_layers(rows, p, m, trace.hidden, t);
  alignas(64) Real scale_gradient[HIDDEN] = {}, shift_gradient[HIDDEN] = {};
  const Real* scale = p.value + m.scale;
  for (int r = 0; r < rows; r++) {
    Real* g = row(gradient, r);
    const Real* n = row(trace.normal, r);
    Real sum = 0, projection = 0;
#pragma omp simd reduction(+ : sum, projection)
    for (int k = 0; k < HIDDEN; k++) {
      const Real q = g[k] * scale[k];
      scale_gradient[k] += g[k] * n[k];
      shift_gradient[k] += g[k];
      sum += q;
      projection += q * n[k];
    }
    const Real inverse = trace.inverse[r], mean = sum / HIDDEN, slope = projection / HIDDEN;
    for_row([&](int k) {
      store(g + k, (load(g + k) * load(scale + k) - mean - slope * load(n + k)) * inverse);
    });
  }
  add_row(p.gradient + m.scale, scale_gradient);
  add_row(p.gradient + m.shift, shift_gradient);

  const Real* hidden[3] = {trace.hidden, t.hidden[1].data(), t.hidden[2].data()};
  Real* results[3] = {t.other.data(), t.output.data(), t.other.data()};
  for (int l = 3; l >= 1; l--) {
    Real* result = results[l - 1];
    p.add_weight_gradient(rows, m, l, 0, gradient, hidden[l - 1]);
    add_column_sums(rows, gradient, p.gradient + m.bias[l]);
    multiply<Start::ZERO>(rows, gradient, p.value + m.weight[l], nullptr, result);
    for (int i = 0; i < rows * HIDDEN; i += LANES)  // through the ReLU; a NaN lets it pass, as in torch
      store(result + i, load(hidden[l - 1] + i) <= 0 ? Vector{} : load(result + i));
    gradient = result;
  }
  add_column_sums(rows, gradient, p.gradient + m.bias[0]);
  return gradient;
}

// ---- one perceptron on all rows of a slice ------------------------------------------------------

Trace from_row(const Trace& trace, int64_t r) {
  return {row(trace.hidden, r), row(trace.normal, r), trace.inverse + r, row(trace.states, r)};
}

// From trace.hidden to trace.states.
void rows_forward(int rows, const Parameters& p, const Mlp& m, const Trace& trace, Tiles& t) {
  for_tiles(rows, [&](int first, int n) {
    const Trace tile = from_row(trace, first);
    tail_forward(n, p, m, tile, t);
    scale_and_shift(n, p, m, tile.normal, tile.states);
  });
}

// From the gradient of the states to that of the first layer's sum, in place.
void rows_backward(int rows, const Parameters& p, const Mlp& m, const Trace& trace, Real* gradient,
                   Tiles& t) {
  for_tiles(rows, [&](int first, int n) {
    const Real* result = tail_backward(n, p, m, from_row(trace, first), row(gradient, first), t);
    std::memcpy(row(gradient, first), result, n * HIDDEN * sizeof(Real));
  });
}

// First layer of an encoder, whose inputs are a few features, [rows, width].
void encode(int rows, const Parameters& p, const Mlp& m, const Real* features, Real* hidden) {
  product<Start::BIAS, End::RELU>(rows, m.width, features, m.width, 1, p.transposed + m.weight[0], HIDDEN,
                                  p.value + m.bias[0], hidden, HIDDEN);
}

// The gradient of its weight: products have 64 columns, so it comes transposed.
void add_encoder_gradient(int rows, const Parameters& p, const Mlp& m, const Real* g, const Real* features) {
  Real transposed[SQUARE];
  product<Start::ZERO, End::PLAIN>(m.width, rows, features, 1, m.width, g, HIDDEN, nullptr, transposed,
                                   HIDDEN);
  Real* gradient = p.gradient + m.weight[0];
  for (int64_t o = 0; o < HIDDEN; o++)
    for (int64_t k = 0; k < m.width; k++) gradient[o * m.width + k] += transposed[k * HIDDEN + o];
}

}  // namespace
