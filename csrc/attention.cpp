// Self-attention with dropout of its probabilities, in one pass over a row's head: what a head needs
// stays in the caches, nothing is transposed or copied in memory, and the mask is drawn where it is
// used. libtorch's fused kernel for CPUs drops nothing, and its products of small matrices one by one
// take twice the time.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels.h"

namespace {

constexpr int64_t LANES = ATTENTION_LANES;
typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t Integers __attribute__((vector_size(LANES * sizeof(int32_t))));

WITHIN Lanes load(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

WITHIN void store(float* to, Lanes lanes) { std::memcpy(to, &lanes, sizeof lanes); }

template <int ROWS>
WITHIN void product_of_rows(Matrix<const float> a, Matrix<const float> b, Matrix<float> c, int64_t inner) {
  Lanes sums[ROWS] = {};
  for (int64_t j = 0; j < inner; j++) {
    const Lanes lanes = load(b.at + j * b.row);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) sums[i] += a.at[i * a.row + j * a.column] * lanes;
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; i++) store(c.at + i * c.row, sums[i]);
}

// C = A B of `rows` by `inner` by `width`, the last a multiple of LANES. Rows of B and C are
// contiguous.
WITHIN void product(Matrix<const float> a, Matrix<const float> b, Matrix<float> c, int64_t rows, int64_t inner,
                    int64_t width) {
  constexpr int ROWS = 6;
  for (int64_t column = 0; column < width; column += LANES) {
    const Matrix<const float> right = {b.at + column, b.row};
    int64_t i = 0;
    for (; i + ROWS <= rows; i += ROWS) {
      product_of_rows<ROWS>({a.at + i * a.row, a.row, a.column}, right, {c.at + i * c.row + column, c.row}, inner);
    }
    for (; i < rows; i++) {
      product_of_rows<1>({a.at + i * a.row, a.row, a.column}, right, {c.at + i * c.row + column, c.row}, inner);
    }
  }
}

// The transpose of `rows` rows, each padded with zeros to `width`.
WITHIN void transpose(Matrix<const float> from, int64_t rows, int64_t columns, float* to, int64_t width) {
  for (int64_t j = 0; j < columns; j++) {
    for (int64_t i = 0; i < rows; i++) to[j * width + i] = from.at[i * from.row + j];
    std::fill(to + j * width + rows, to + (j + 1) * width, 0.0f);
  }
}

// e^x of what is not positive, within two units in the last place: x = n ln 2 + f, and a polynomial
// of f by Cephes (Moshier, 1989).
WITHIN Lanes exponential(Lanes x) {
  const Lanes rounding = Lanes{} + 12582912.0f;  // 1.5 * 2^23: adding it leaves integers
  const Lanes n = (x * 1.44269504f + rounding) - rounding;
  const Lanes f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Lanes y = f * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * f + 8.3334519073e-3f;
  y = y * f + 4.1665795894e-2f;
  y = y * f + 1.6666665459e-1f;
  y = y * f + 5.0000001201e-1f;
  y = y * f * f + f + 1.0f;
  const Integers power = (__builtin_convertvector(n, Integers) + 127) << 23;
  Lanes scale;
  std::memcpy(&scale, &power, sizeof scale);
  return x < -87.0f ? Lanes{} : y * scale;
}

// Scores to probabilities: softmax(scale * scores + bias) of the first `tokens`; zeros behind them.
WITHIN void softmax(float* scores, const float* bias, float scale, int64_t tokens) {
  const int64_t width = padded(tokens);
  for (int64_t j = 0; j < tokens; j++) scores[j] = scores[j] * scale + (bias ? bias[j] : 0.0f);
  std::fill(scores + tokens, scores + width, -std::numeric_limits<float>::infinity());
  Lanes lanes = load(scores);
  for (int64_t j = LANES; j < width; j += LANES) {
    const Lanes more = load(scores + j);
    lanes = more > lanes ? more : lanes;
  }
  float most = lanes[0];
  for (int i = 1; i < LANES; i++) most = std::max(most, lanes[i]);
  Lanes sums = {};
  for (int64_t j = 0; j < width; j += LANES) {
    // What has no end, in either direction, is as far from the largest as can be.
    const Lanes far = load(scores + j) - most;
    const Lanes y = exponential(far > -88.0f ? far : Lanes{} - 88.0f);
    store(scores + j, y);
    sums += y;
  }
  float sum = 0.0f;
  for (int i = 0; i < LANES; i++) sum += sums[i];
  for (int64_t j = 0; j < width; j += LANES) store(scores + j, load(scores + j) / sum);
}

// By what the probabilities of one query are multiplied: 0 where dropped. `row` is its place among
// all rows of the mask.
WITHIN void draw(Key key, int64_t row, int64_t tokens, std::vector<uint64_t>& words, float* factors) {
  const int64_t begin = row * tokens;
  const int64_t first = begin / 4, count = (begin + tokens + 3) / 4 - first;
  uint64_t* drawn = words.data();
  for (int64_t i = 0; i < count; i++) drawn[i] = splitmix(key.seed, first + i);
  const char* bits = reinterpret_cast<const char*>(drawn) + (begin % 4) * sizeof(uint16_t);
  const float scale = static_cast<float>(1.0 / key.keep());
  const uint16_t threshold = static_cast<uint16_t>(key.threshold);
  for (int64_t j = 0; j < tokens; j++) {
    uint16_t value;
    std::memcpy(&value, bits + j * sizeof value, sizeof value);
    factors[j] = value < threshold ? 0.0f : scale;
  }
  std::fill(factors + tokens, factors + padded(tokens), 0.0f);
}

// What a thread works in.
struct Scratch {
  std::vector<float> turned, dropped, scores, factors;
  std::vector<uint64_t> words;
  explicit Scratch(const Shape& shape)
      : turned(shape.width * padded(shape.tokens)),
        dropped(shape.queries * padded(shape.tokens)),
        scores(dropped.size()),
        factors(padded(shape.tokens)),
        words(shape.tokens / 4 + 2) {}
};

FOR_EACH_CPU void forward_head(const AttentionForward& call, int64_t index, Scratch& scratch) {
  const Shape& shape = call.shape;
  const int64_t width = padded(shape.tokens);
  const Matrix<const float> turned = {scratch.turned.data(), width};
  const Matrix<const float> dropped = {scratch.dropped.data(), width};
  float* scores = call.probabilities + index * shape.queries * width;
  const float* bias = call.bias ? call.bias + index / shape.heads * shape.tokens : nullptr;
  transpose(call.key_of.of(index, shape), shape.tokens, shape.width, scratch.turned.data(), width);
  product(call.query.of(index, shape), turned, {scores, width}, shape.queries, shape.width, width);
  for (int64_t i = 0; i < shape.queries; i++) {
    float* row = scores + i * width;
    softmax(row, bias, shape.scale(), shape.tokens);
    draw(call.key, index * shape.queries + i, shape.tokens, scratch.words, scratch.factors.data());
    for (int64_t j = 0; j < width; j++) scratch.dropped[i * width + j] = row[j] * scratch.factors[j];
  }
  product(dropped, call.value.of(index, shape), call.context.of(index, shape), shape.queries, shape.tokens,
          shape.width);
}

FOR_EACH_CPU void backward_head(const AttentionBackward& call, int64_t index, Scratch& scratch) {
  const Shape& shape = call.shape;
  const int64_t width = padded(shape.tokens);
  const float* probabilities = call.probabilities + index * shape.queries * width;
  const Matrix<const float> turned = {scratch.turned.data(), width};
  const Matrix<const float> dropped = {scratch.dropped.data(), width};
  const Matrix<const float> scores = {scratch.scores.data(), width};
  const Matrix<const float> gradient = call.gradient.of(index, shape);
  transpose(call.value.of(index, shape), shape.tokens, shape.width, scratch.turned.data(), width);
  product(gradient, turned, {scratch.scores.data(), width}, shape.queries, shape.width, width);
  for (int64_t i = 0; i < shape.queries; i++) {
    const float* row = probabilities + i * width;
    float* of_scores = scratch.scores.data() + i * width;
    float* of_value = scratch.dropped.data() + i * width;
    const float* factors = scratch.factors.data();
    draw(call.key, index * shape.queries + i, shape.tokens, scratch.words, scratch.factors.data());
    Lanes sums = {};
    for (int64_t j = 0; j < width; j += LANES) {
      const Lanes kept = load(row + j) * load(factors + j);
      sums += kept * load(of_scores + j);
      store(of_value + j, kept);
    }
    float sum = 0.0f;
    for (int k = 0; k < LANES; k++) sum += sums[k];
    for (int64_t j = 0; j < width; j += LANES) {
      const Lanes centred = load(of_scores + j) * load(factors + j) - sum;
      store(of_scores + j, load(row + j) * centred * shape.scale());
    }
  }
  if (call.of_value.at) {
    product(dropped.transposed(), gradient, call.of_value.of(index, shape), shape.tokens, shape.queries, shape.width);
  }
  if (call.of_query.at) {
    product(scores, call.key_of.of(index, shape), call.of_query.of(index, shape), shape.queries, shape.tokens,
            shape.width);
  }
  if (call.of_key.at) {
    product(scores.transposed(), call.query.of(index, shape), call.of_key.of(index, shape), shape.tokens, shape.queries,
            shape.width);
  }
}

// Each head of each row is computed by one thread, from the same values in the same order.
template <typename Call>
void each_head(const Call& call, int64_t begin, int64_t end, void (*work)(const Call&, int64_t, Scratch&)) {
  Scratch scratch(call.shape);
  for (int64_t index = begin; index < end; index++) work(call, index, scratch);
}

}  // namespace

void attention_forward(const AttentionForward& call, int64_t begin, int64_t end) {
  each_head(call, begin, end, forward_head);
}

void attention_backward(const AttentionBackward& call, int64_t begin, int64_t end) {
  each_head(call, begin, end, backward_head);
}
