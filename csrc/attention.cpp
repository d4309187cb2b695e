// Self-attention whose probabilities may be dropped, in one pass over a row's head: what a head needs
// stays in the caches, nothing is transposed or copied in memory, and the mask is drawn where it is
// used. libtorch's fused kernel for CPUs drops nothing, and its products of small matrices one by one
// take twice the time.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels.h"
#include "vectors.h"

namespace {

// ROWS rows of C, COLUMNS vectors of each, whose sums stay in registers.
template <typename V, int ROWS, int COLUMNS>
WITHIN void product_of_rows(Matrix<const float> a, Matrix<const float> b, Matrix<float> c, int64_t inner, bool adds) {
  V sums[ROWS][COLUMNS] = {};
  for (int64_t j = 0; j < inner; j++) {
    V values[COLUMNS];
#pragma GCC unroll 8
    for (int n = 0; n < COLUMNS; n++) values[n] = load<V>(b.at + j * b.row + n * COUNT<V>);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) {
      const float factor = a.at[i * a.row + j * a.column];
#pragma GCC unroll 8
      for (int n = 0; n < COLUMNS; n++) sums[i][n] += factor * values[n];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 8
    for (int n = 0; n < COLUMNS; n++) {
      float* at = c.at + i * c.row + n * COUNT<V>;
      put<V>(at, adds ? load<V>(at) + sums[i][n] : sums[i][n]);
    }
  }
}

// COLUMNS vectors of all rows of C, ROWS rows at a time, and of what is left half as many.
template <typename V, int ROWS, int COLUMNS>
WITHIN void product_of_columns(Matrix<const float> a, Matrix<const float> b, Matrix<float> c, int64_t rows,
                               int64_t inner, bool adds) {
  int64_t i = 0;
  for (; i + ROWS <= rows; i += ROWS) product_of_rows<V, ROWS, COLUMNS>(a.from(i), b, c.from(i), inner, adds);
  if constexpr (ROWS > 1) product_of_columns<V, ROWS / 2, COLUMNS>(a.from(i), b, c.from(i), rows - i, inner, adds);
}

// C = A B of `rows` by `inner` by `width`, the last a multiple of LANES, or what is added to C. Rows of B and
// C are contiguous.
template <typename V>
WITHIN void product(Matrix<const float> a, Matrix<const float> b, Matrix<float> c, int64_t rows, int64_t inner,
                    int64_t width, bool adds = false) {
  // As many sums as there are registers for.
  constexpr int ROWS = PARTS<V> == 1 ? 8 : 6;
  int64_t column = 0;
  for (; column + 2 * COUNT<V> <= width; column += 2 * COUNT<V>) {
    product_of_columns<V, ROWS, 2>(a, b.from(0, column), c.from(0, column), rows, inner, adds);
  }
  if (column < width) product_of_columns<V, ROWS, 1>(a, b.from(0, column), c.from(0, column), rows, inner, adds);
}

// Rows and columns of a square that is transposed in registers.
constexpr int64_t SQUARE = COUNT<Half>;

#ifdef __clang__
#define SHUFFLE(FIRST, SECOND, ...) __builtin_shufflevector(FIRST, SECOND, __VA_ARGS__)
#else
#define SHUFFLE(FIRST, SECOND, ...) __builtin_shuffle(FIRST, SECOND, Integers<Half>{__VA_ARGS__})
#endif

// Exchanges the squares of STEP by STEP off the diagonals of two rows that are STEP apart.
template <int STEP>
WITHIN void exchange(Half& upper, Half& lower) {
  const Half first = upper, second = lower;
#define KEPT(K) (K & STEP ? SQUARE + K - STEP : K)
#define MOVED(K) (K & STEP ? SQUARE + K : K + STEP)
  upper = SHUFFLE(first, second, KEPT(0), KEPT(1), KEPT(2), KEPT(3), KEPT(4), KEPT(5), KEPT(6), KEPT(7));
  lower = SHUFFLE(first, second, MOVED(0), MOVED(1), MOVED(2), MOVED(3), MOVED(4), MOVED(5), MOVED(6), MOVED(7));
#undef KEPT
#undef MOVED
}

template <int STEP>
WITHIN void exchange_all(Half (&rows)[SQUARE]) {
#pragma GCC unroll 8
  for (int i = 0; i < SQUARE; i++) {
    if (!(i & STEP)) exchange<STEP>(rows[i], rows[i + STEP]);
  }
}

WITHIN void transpose_square(Matrix<const float> from, Matrix<float> to) {
  Half rows[SQUARE];
#pragma GCC unroll 8
  for (int i = 0; i < SQUARE; i++) rows[i] = load<Half>(from.from(i).at);
  exchange_all<1>(rows);
  exchange_all<2>(rows);
  exchange_all<4>(rows);
#pragma GCC unroll 8
  for (int i = 0; i < SQUARE; i++) put(to.from(i).at, rows[i]);
}

// The transpose of `rows` rows of `columns`, a multiple of LANES, each padded with zeros to `width`.
WITHIN void transpose(Matrix<const float> from, int64_t rows, int64_t columns, float* at, int64_t width) {
  const Matrix<float> to = {at, width};
  const int64_t whole = rows / SQUARE * SQUARE;
  for (int64_t j = 0; j < columns; j += SQUARE) {
    for (int64_t i = 0; i < whole; i += SQUARE) transpose_square(from.from(i, j), to.from(j, i));
  }
  for (int64_t j = 0; j < columns; j++) {
    for (int64_t i = whole; i < rows; i++) *to.from(j, i).at = *from.from(i, j).at;
    std::fill(to.from(j, rows).at, to.from(j + 1).at, 0.0f);
  }
}

// By what the probabilities of one query are multiplied: 0 where dropped. `row` is its place among
// all rows of the mask.
WITHIN void draw(Key key, int64_t row, int64_t tokens, std::vector<uint64_t>& words, float* factors) {
  std::fill(factors + tokens, factors + padded(tokens), 0.0f);
  if (!key.threshold) return std::fill(factors, factors + tokens, 1.0f);
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

template <typename V>
WITHIN void forward_head(const AttentionForward<float>& call, int64_t index, Scratch& scratch) {
  const Shape& shape = call.shape;
  const int64_t width = padded(shape.tokens), step = block(shape, shape.queries);
  const Matrix<const float> turned = {scratch.turned.data(), width};
  const Matrix<float> dropped = {scratch.dropped.data(), width};
  const Matrix<float> scores = {call.probabilities + index * shape.queries * width, width};
  const float* bias = call.bias ? call.bias + index / shape.heads * shape.tokens : nullptr;
  transpose(call.key_of.shared_by(index, shape), shape.tokens, shape.width, scratch.turned.data(), width);
  for (int64_t begin = 0; begin < shape.queries; begin += step) {
    const int64_t end = std::min(begin + step, shape.queries), seen = shape.visible(end - 1);
    product<V>(call.query.of(index, shape).from(begin), turned, scores.from(begin), end - begin, shape.width,
               padded(seen));
    for (int64_t i = begin; i < end; i++) {
      float* row = scores.from(i).at;
      softmax<V>(row, bias, shape.scale(), shape.visible(i), width);
      draw(call.key, index * shape.queries + i, shape.tokens, scratch.words, scratch.factors.data());
      for (int64_t j = 0; j < width; j++) dropped.at[i * width + j] = row[j] * scratch.factors[j];
    }
    product<V>({dropped.from(begin).at, width}, call.value.shared_by(index, shape),
               call.context.of(index, shape).from(begin), end - begin, seen, shape.width);
  }
}

// The gradient by one query's scores, in place of that by its dropped probabilities, and these.
template <typename V>
WITHIN void scores_backward(const AttentionBackward<float>& call, int64_t row_of_mask, const float* row, int64_t visible,
                            float* of_scores, float* of_value, Scratch& scratch) {
  const int64_t width = padded(call.shape.tokens), seen = padded(visible);
  const float* factors = scratch.factors.data();
  draw(call.key, row_of_mask, call.shape.tokens, scratch.words, scratch.factors.data());
  Lanes<V> sums = {};
  for (int64_t begin = 0; begin < seen; begin += LANES) {
    for (int64_t part = 0; part < PARTS<V>; part++) {
      const int64_t j = begin + part * COUNT<V>;
      const V kept = load<V>(row + j) * load<V>(factors + j);
      sums.part[part] += kept * load<V>(of_scores + j);
      put(of_value + j, kept);
    }
  }
  const float sum = total(sums);
  for (int64_t j = 0; j < seen; j += COUNT<V>) {
    const V centred = load<V>(of_scores + j) * load<V>(factors + j) - sum;
    put<V>(of_scores + j, load<V>(row + j) * centred * call.shape.scale());
  }
  std::fill(of_scores + seen, of_scores + width, 0.0f);
  std::fill(of_value + seen, of_value + width, 0.0f);
}

// The gradient by the scores of one head, and by its queries, whose keys are the head that `scratch.turned` has
// the values of.
template <typename V>
WITHIN void queries_backward(const AttentionBackward<float>& call, int64_t head, Scratch& scratch) {
  const Shape& shape = call.shape;
  const int64_t width = padded(shape.tokens), step = block(shape, shape.queries);
  const Matrix<const float> probabilities = {call.probabilities + head * shape.queries * width, width};
  const Matrix<const float> turned = {scratch.turned.data(), width};
  const Matrix<float> scores = {scratch.scores.data(), width}, dropped = {scratch.dropped.data(), width};
  const Matrix<const float> gradient = call.gradient.of(head, shape);
  for (int64_t begin = 0; begin < shape.queries; begin += step) {
    const int64_t end = std::min(begin + step, shape.queries), seen = shape.visible(end - 1);
    product<V>(gradient.from(begin), turned, scores.from(begin), end - begin, shape.width, padded(seen));
    for (int64_t i = begin; i < end; i++) {
      scores_backward<V>(call, head * shape.queries + i, probabilities.from(i).at, shape.visible(i), scores.from(i).at,
                         dropped.from(i).at, scratch);
    }
    if (!call.of_query.at) continue;
    product<V>({scores.from(begin).at, width}, call.key_of.shared_by(head, shape),
               call.of_query.of(head, shape).from(begin), end - begin, seen, shape.width);
  }
}

// What the queries of one head add to the gradients by its keys and values; the first of those that share
// them begins the sum.
template <typename V>
WITHIN void keys_backward(const AttentionBackward<float>& call, int64_t head, bool adds, Scratch& scratch) {
  const Shape& shape = call.shape;
  const int64_t width = padded(shape.tokens), step = block(shape, shape.tokens);
  const Matrix<const float> scores = {scratch.scores.data(), width}, dropped = {scratch.dropped.data(), width};
  for (int64_t begin = 0; begin < shape.tokens; begin += step) {
    const int64_t count = std::min(step, shape.tokens - begin), first = shape.viewer(begin);
    const int64_t queries = shape.queries - first;
    if (call.of_value.at) {
      product<V>(dropped.from(first, begin).transposed(), call.gradient.of(head, shape).from(first),
                 call.of_value.shared_by(head, shape).from(begin), count, queries, shape.width, adds);
    }
    if (call.of_key.at) {
      product<V>(scores.from(first, begin).transposed(), call.query.of(head, shape).from(first),
                 call.of_key.shared_by(head, shape).from(begin), count, queries, shape.width, adds);
    }
  }
}

// A head of keys, with all of queries that share it.
template <typename V>
WITHIN void backward_head(const AttentionBackward<float>& call, int64_t index, Scratch& scratch) {
  const Shape& shape = call.shape;
  const int64_t first = index * shape.groups, width = padded(shape.tokens);
  transpose(call.value.shared_by(first, shape), shape.tokens, shape.width, scratch.turned.data(), width);
  for (int64_t head = first; head < first + shape.groups; head++) {
    queries_backward<V>(call, head, scratch);
    keys_backward<V>(call, head, head > first, scratch);
  }
}

// Each head of each row is computed by one thread, from the same values in the same order.
template <typename V>
WITHIN void forward_heads(const AttentionForward<float>& call, int64_t begin, int64_t end) {
  Scratch scratch(call.shape);
  for (int64_t index = begin; index < end; index++) forward_head<V>(call, index, scratch);
}

template <typename V>
WITHIN void backward_heads(const AttentionBackward<float>& call, int64_t begin, int64_t end) {
  Scratch scratch(call.shape);
  for (int64_t index = begin; index < end; index++) backward_head<V>(call, index, scratch);
}

}  // namespace

KERNEL(attention_forward, forward_heads, AttentionForward<float>)
KERNEL(attention_backward, backward_heads, AttentionBackward<float>)
