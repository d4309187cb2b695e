// Self-attention with dropout of its probabilities, in one pass over a row's head: what a head needs
// stays in the caches, nothing is transposed or copied in memory, and the mask is drawn where it is
// used. libtorch's fused kernel for CPUs drops nothing, and its products of small matrices one by one
// take twice the time.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels.h"
#include "vectors.h"

namespace {

template <int ROWS>
WITHIN void product_of_rows(Matrix<const float> a, Matrix<const float> b, Matrix<float> c, int64_t inner) {
  Half left[ROWS] = {}, right[ROWS] = {};
  for (int64_t j = 0; j < inner; j++) {
    const Half first = load(b.at + j * b.row), second = load(b.at + j * b.row + HALF);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) {
      const float factor = a.at[i * a.row + j * a.column];
      left[i] += factor * first;
      right[i] += factor * second;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; i++) {
    store(c.at + i * c.row, left[i]);
    store(c.at + i * c.row + HALF, right[i]);
  }
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

// Queries, or keys, that are multiplied at a time where some see less than others; all where all see
// the same. What nobody among them sees is left out.
WITHIN int64_t block(const Shape& shape, int64_t all) { return shape.causal ? 48 : std::max<int64_t>(all, 1); }

FOR_EACH_CPU void forward_head(const AttentionForward<float>& call, int64_t index, Scratch& scratch) {
  const Shape& shape = call.shape;
  const int64_t width = padded(shape.tokens), step = block(shape, shape.queries);
  const Matrix<const float> turned = {scratch.turned.data(), width};
  const Matrix<float> dropped = {scratch.dropped.data(), width};
  const Matrix<float> scores = {call.probabilities + index * shape.queries * width, width};
  const float* bias = call.bias ? call.bias + index / shape.heads * shape.tokens : nullptr;
  transpose(call.key_of.of(index, shape), shape.tokens, shape.width, scratch.turned.data(), width);
  for (int64_t begin = 0; begin < shape.queries; begin += step) {
    const int64_t end = std::min(begin + step, shape.queries), seen = shape.visible(end - 1);
    product(call.query.of(index, shape).from(begin), turned, scores.from(begin), end - begin, shape.width, padded(seen));
    for (int64_t i = begin; i < end; i++) {
      float* row = scores.from(i).at;
      softmax(row, bias, shape.scale(), shape.visible(i), width);
      draw(call.key, index * shape.queries + i, shape.tokens, scratch.words, scratch.factors.data());
      for (int64_t j = 0; j < width; j++) dropped.at[i * width + j] = row[j] * scratch.factors[j];
    }
    product({dropped.from(begin).at, width}, call.value.of(index, shape), call.context.of(index, shape).from(begin),
            end - begin, seen, shape.width);
  }
}

// The gradient by one query's scores, in place of that by its dropped probabilities, and these.
WITHIN void scores_backward(const AttentionBackward<float>& call, int64_t row_of_mask, const float* row, int64_t visible,
                            float* of_scores, float* of_value, Scratch& scratch) {
  const int64_t width = padded(call.shape.tokens), seen = padded(visible);
  const float* factors = scratch.factors.data();
  draw(call.key, row_of_mask, call.shape.tokens, scratch.words, scratch.factors.data());
  Half sums[2] = {};
  for (int64_t j = 0; j < seen; j += HALF) {
    const Half kept = load(row + j) * load(factors + j);
    sums[j / HALF % 2] += kept * load(of_scores + j);
    store(of_value + j, kept);
  }
  const float sum = total(sums);
  for (int64_t j = 0; j < seen; j += HALF) {
    const Half centred = load(of_scores + j) * load(factors + j) - sum;
    store(of_scores + j, load(row + j) * centred * call.shape.scale());
  }
  std::fill(of_scores + seen, of_scores + width, 0.0f);
  std::fill(of_value + seen, of_value + width, 0.0f);
}

FOR_EACH_CPU void backward_head(const AttentionBackward<float>& call, int64_t index, Scratch& scratch) {
  const Shape& shape = call.shape;
  const int64_t width = padded(shape.tokens);
  const Matrix<const float> probabilities = {call.probabilities + index * shape.queries * width, width};
  const Matrix<const float> turned = {scratch.turned.data(), width};
  const Matrix<const float> dropped = {scratch.dropped.data(), width};
  const Matrix<const float> scores = {scratch.scores.data(), width};
  const Matrix<const float> gradient = call.gradient.of(index, shape);
  transpose(call.value.of(index, shape), shape.tokens, shape.width, scratch.turned.data(), width);
  for (int64_t begin = 0, step = block(shape, shape.queries); begin < shape.queries; begin += step) {
    const int64_t end = std::min(begin + step, shape.queries), seen = shape.visible(end - 1);
    product(gradient.from(begin), turned, {scratch.scores.data() + begin * width, width}, end - begin, shape.width,
            padded(seen));
    for (int64_t i = begin; i < end; i++) {
      scores_backward(call, index * shape.queries + i, probabilities.from(i).at, shape.visible(i),
                      scratch.scores.data() + i * width, scratch.dropped.data() + i * width, scratch);
    }
    if (call.of_query.at) {
      product(scores.from(begin), call.key_of.of(index, shape), call.of_query.of(index, shape).from(begin), end - begin,
              seen, shape.width);
    }
  }
  for (int64_t begin = 0, step = block(shape, shape.tokens); begin < shape.tokens; begin += step) {
    const int64_t count = std::min(step, shape.tokens - begin), first = shape.viewer(begin);
    const int64_t queries = shape.queries - first;
    if (call.of_value.at) {
      product(dropped.from(first, begin).transposed(), gradient.from(first), call.of_value.of(index, shape).from(begin),
              count, queries, shape.width);
    }
    if (call.of_key.at) {
      product(scores.from(first, begin).transposed(), call.query.of(index, shape).from(first),
              call.of_key.of(index, shape).from(begin), count, queries, shape.width);
    }
  }
}

// Each head of each row is computed by one thread, from the same values in the same order.
template <typename Call>
void each_head(const Call& call, int64_t begin, int64_t end, void (*work)(const Call&, int64_t, Scratch&)) {
  Scratch scratch(call.shape);
  for (int64_t index = begin; index < end; index++) work(call, index, scratch);
}

}  // namespace

void attention_forward(const AttentionForward<float>& call, int64_t begin, int64_t end) {
  each_head(call, begin, end, forward_head);
}

void attention_backward(const AttentionBackward<float>& call, int64_t begin, int64_t end) {
  each_head(call, begin, end, backward_head);
}
