#include "attention.h"

#ifdef HAS_TILE_INSTRUCTIONS
#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "vectors.h"

namespace {

typedef Matrix<const Narrow> Rows;

// C = A B for 32 rows: A is (32, inner), B pairs of rows side by side, (inner / 2, width, 2); all are
// filled up, C is (32, width).
WITHIN_TILES void multiply_strip(const Narrow* a, int64_t inner, const Narrow* b, int64_t width, float* c) {
  const int64_t a_step = inner * sizeof(Narrow), b_step = 2 * width * sizeof(Narrow), c_step = width * sizeof(float);
  for (int64_t column = 0; column < width; column += PANEL) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t at = 0; at < inner; at += TILE_INPUTS) {
      const Narrow* pairs = b + at * width + 2 * column;
      _tile_loadd(4, a + at, a_step);
      _tile_loadd(6, pairs, b_step);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, pairs + 2 * TILE, b_step);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, a + TILE * inner + at, a_step);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c + column, c_step);
    _tile_stored(1, c + column + TILE, c_step);
    _tile_stored(2, c + TILE * width + column, c_step);
    _tile_stored(3, c + TILE * width + column + TILE, c_step);
  }
}

// A head's rows one behind the other, (filled(rows), filled(width)).
WITHIN_TILES void gather_rows(Rows from, int64_t rows, int64_t width, Narrow* to) {
  const int64_t all = filled(width);
  for (int64_t i = 0; i < rows; i++) {
    const Narrow* row = from.at + i * from.row;
    for (int64_t j = 0; j < all; j += TILE) {
      const __m256i values = j < width ? _mm256_loadu_si256((const __m256i*)(row + j)) : _mm256_setzero_si256();
      _mm256_storeu_si256((__m256i*)(to + i * all + j), values);
    }
  }
  std::fill_n(to + rows * all, (filled(rows) - rows) * all, Narrow{0});
}

// Rows (filled, width) two by two, their values side by side: (filled / 2, width, 2).
WITHIN_TILES void pair_rows(const Narrow* from, int64_t rows, int64_t width, Narrow* to) {
  for (int64_t i = 0; i < rows; i += 2) {
    for (int64_t j = 0; j < width; j += TILE) {
      const __m512i upper = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(from + i * width + j)));
      const __m512i lower = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(from + (i + 1) * width + j)));
      _mm512_storeu_si512(to + i * width + 2 * j, _mm512_or_si512(upper, _mm512_slli_epi32(lower, 16)));
    }
  }
}

// The transpose of (rows, width), its rows two by two: (width / 2, rows, 2).
WITHIN_TILES void turn_pairs(const Narrow* from, int64_t rows, int64_t width, Narrow* to) {
  for (int64_t j = 0; j < width; j += 2) {
    for (int64_t i = 0; i < rows; i += TILE) {
      _mm512_storeu_si512(to + j * rows + 2 * i, two_columns(from + i * width + j, width));
    }
  }
}

// The rows of C = A B of `rows` in strips, to a head's rows in bfloat16.
WITHIN_TILES void put_rows(const float* from, int64_t rows, int64_t step, Matrix<Narrow> to, int64_t width) {
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < width; j += TILE) put(to.at + i * to.row + j, _mm512_loadu_ps(from + i * step + j));
  }
}

// The columns of (width, filled tokens) as a head's rows.
WITHIN_TILES void put_columns(const float* from, int64_t tokens, int64_t step, Matrix<Narrow> to, int64_t width) {
  const __m512i numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i places = _mm512_mullo_epi32(numbers, _mm512_set1_epi32(static_cast<int>(step)));
  for (int64_t i = 0; i < tokens; i++) {
    for (int64_t j = 0; j < width; j += TILE) {
      put(to.at + i * to.row + j, _mm512_i32gather_ps(places, from + j * step + i, sizeof(float)));
    }
  }
}

// What a thread works in; backward, of all queries that share keys.
struct Scratch {
  int64_t queries, tokens, width;
  Values<Narrow> query, gradient, key, turned, value, kept, of_scores, pairs, columns;
  Values<float> scores, sums;
  std::vector<uint64_t> words;

  Scratch(const Shape& shape, bool backward)
      : queries(filled(shape.queries) * (backward ? shape.groups : 1)),
        tokens(filled(shape.tokens)),
        width(filled(shape.width)),
        query(queries * width),
        gradient(backward ? query.size() : 0),
        key(tokens * width),
        turned(key.size()),
        value(key.size()),
        kept((backward ? queries : PANEL) * tokens),
        of_scores(backward ? kept.size() : 0),
        pairs(backward ? kept.size() : 0),
        columns(backward ? query.size() : 0),
        scores(PANEL * tokens),
        sums(std::max(PANEL * width, backward ? width * tokens : 0)),
        words(shape.tokens / 4 + 2 + TILE) {}
};

// Draws the bits of one query's probabilities, which are those that attention.cpp draws; the first of
// them.
WITHIN_TILES const uint16_t* draw(Key key, int64_t row, int64_t tokens, std::vector<uint64_t>& words) {
  const int64_t begin = row * tokens, from = begin / 4, count = (begin + tokens + 3) / 4 - from;
  uint64_t* drawn = words.data();
  for (int64_t i = 0; i < count; i++) drawn[i] = splitmix(key.seed, from + i);
  return reinterpret_cast<const uint16_t*>(drawn) + begin % 4;
}

// By what 16 probabilities are multiplied: 0 where dropped.
WITHIN_TILES Floats factors(Key key, const uint16_t* bits) {
  if (key.threshold == 0) return all(1.0f);
  const __m256i threshold = _mm256_set1_epi16(static_cast<int16_t>(key.threshold));
  const __mmask16 kept = _mm256_cmpge_epu16_mask(_mm256_loadu_si256((const __m256i*)bits), threshold);
  return _mm512_maskz_mov_ps(kept, all(static_cast<float>(1.0 / key.keep())));
}

// One query's scores to probabilities, and those that are kept; both are 0 from `visible` on.
WITHIN_TILES void softmax(float* scores, const float* bias, float scale, int64_t visible, int64_t all_tokens, Key key,
                          const uint16_t* bits, Narrow* probabilities, Narrow* kept) {
  const Floats least = all(-std::numeric_limits<float>::infinity());
  Floats most = least;
  for (int64_t j = 0; j < visible; j += TILE) {
    const __mmask16 mask = first(visible - j);
    const Floats added = bias ? _mm512_maskz_loadu_ps(mask, bias + j) : all(0.0f);
    const Floats score = _mm512_mask_blend_ps(mask, least, _mm512_fmadd_ps(_mm512_loadu_ps(scores + j), all(scale), added));
    _mm512_storeu_ps(scores + j, score);
    most = _mm512_max_ps(most, score);
  }
  // What has no end, in either direction, is as far from the largest as can be.
  const Floats top = all(_mm512_reduce_max_ps(most));
  Floats sum = all(0.0f);
  for (int64_t j = 0; j < visible; j += TILE) {
    const Floats far = _mm512_max_ps(_mm512_sub_ps(_mm512_loadu_ps(scores + j), top), all(-88.0f));
    const Floats y = _mm512_maskz_mov_ps(first(visible - j), exponential(far));
    _mm512_storeu_ps(scores + j, y);
    sum = _mm512_add_ps(sum, y);
  }
  const Floats inverse = all(1.0f / _mm512_reduce_add_ps(sum));
  for (int64_t j = 0; j < all_tokens; j += TILE) {
    const Floats y = j < visible ? _mm512_mul_ps(_mm512_loadu_ps(scores + j), inverse) : all(0.0f);
    put(probabilities + j, y);
    put(kept + j, j < visible ? _mm512_mul_ps(y, factors(key, bits + j)) : y);
  }
}

WITH_TILES void forward_head(const AttentionForward<Narrow>& call, int64_t index, Scratch& at) {
  const Shape& shape = call.shape;
  const float* bias = call.bias ? call.bias + index / shape.heads * shape.tokens : nullptr;
  gather_rows(call.query.of(index, shape), shape.queries, shape.width, at.query.data());
  gather_rows(call.key_of.shared_by(index, shape), shape.tokens, shape.width, at.key.data());
  turn_pairs(at.key.data(), at.tokens, at.width, at.turned.data());
  gather_rows(call.value.shared_by(index, shape), shape.tokens, shape.width, at.key.data());
  pair_rows(at.key.data(), at.tokens, at.width, at.value.data());
  for (int64_t begin = 0; begin < shape.queries; begin += PANEL) {
    multiply_strip(&at.query[begin * at.width], at.width, at.turned.data(), at.tokens, at.scores.data());
    const int64_t rows = std::min(PANEL, shape.queries - begin);
    for (int64_t i = 0; i < rows; i++) {
      const int64_t row = index * shape.queries + begin + i;
      const uint16_t* bits = draw(call.key, row, shape.tokens, at.words);
      softmax(&at.scores[i * at.tokens], bias, shape.scale(), shape.visible(begin + i), at.tokens, call.key, bits,
              call.probabilities + row * at.tokens, &at.kept[i * at.tokens]);
    }
    multiply_strip(at.kept.data(), at.tokens, at.value.data(), at.width, at.sums.data());
    put_rows(at.sums.data(), rows, at.width, call.context.of(index, shape).from(begin), shape.width);
  }
}

// The gradient by one query's scores, from that by its kept probabilities; and these.
WITHIN_TILES void scores_backward(const AttentionBackward<Narrow>& call, const Narrow* probabilities, const float* gradient,
                                  const uint16_t* bits, int64_t tokens, Narrow* of_scores, Narrow* kept) {
  Floats sums = all(0.0f);
  for (int64_t j = 0; j < tokens; j += TILE) {
    const Floats y = _mm512_mul_ps(widen(probabilities + j), factors(call.key, bits + j));
    sums = _mm512_fmadd_ps(y, _mm512_loadu_ps(gradient + j), sums);
    put(kept + j, y);
  }
  const Floats sum = all(_mm512_reduce_add_ps(sums));
  for (int64_t j = 0; j < tokens; j += TILE) {
    const Floats centred = _mm512_fmsub_ps(_mm512_loadu_ps(gradient + j), factors(call.key, bits + j), sum);
    put(of_scores + j, _mm512_mul_ps(_mm512_mul_ps(widen(probabilities + j), centred), all(call.shape.scale())));
  }
}

// Gradients of keys or values: sums over queries of what they gave, (queries, tokens), times `by`.
WITH_TILES void of_tokens(const Narrow* by, const Narrow* gave, Matrix<Narrow> to, const Shape& shape, Scratch& at) {
  turn(by, at.queries, at.width, at.columns.data(), at.queries);
  pair_rows(gave, at.queries, at.tokens, at.pairs.data());
  for (int64_t begin = 0; begin < at.width; begin += PANEL) {
    multiply_strip(&at.columns[begin * at.queries], at.queries, at.pairs.data(), at.tokens, &at.sums[begin * at.tokens]);
  }
  put_columns(at.sums.data(), shape.tokens, at.tokens, to, shape.width);
}

// A head's part of the way back, whose rows are behind those of `before` others: gradients by its scores and
// its queries.
WITH_TILES void queries_backward(const AttentionBackward<Narrow>& call, int64_t index, int64_t before, Scratch& at) {
  const Shape& shape = call.shape;
  const int64_t rows_of_head = filled(shape.queries), first = before * rows_of_head;
  gather_rows(call.gradient.of(index, shape), shape.queries, shape.width, &at.gradient[first * at.width]);
  for (int64_t begin = 0; begin < rows_of_head; begin += PANEL) {
    multiply_strip(&at.gradient[(first + begin) * at.width], at.width, at.turned.data(), at.tokens, at.scores.data());
    const int64_t rows = std::min(PANEL, shape.queries - begin);
    Narrow *of_scores = &at.of_scores[(first + begin) * at.tokens], *kept = &at.kept[(first + begin) * at.tokens];
    std::fill_n(of_scores + rows * at.tokens, (PANEL - rows) * at.tokens, Narrow{0});
    std::fill_n(kept + rows * at.tokens, (PANEL - rows) * at.tokens, Narrow{0});
    for (int64_t i = 0; i < rows; i++) {
      const int64_t row = index * shape.queries + begin + i;
      const uint16_t* bits = draw(call.key, row, shape.tokens, at.words);
      scores_backward(call, call.probabilities + row * at.tokens, &at.scores[i * at.tokens], bits, at.tokens,
                      of_scores + i * at.tokens, kept + i * at.tokens);
    }
    if (!call.of_query.at) continue;
    multiply_strip(of_scores, at.tokens, at.value.data(), at.width, at.sums.data());
    put_rows(at.sums.data(), rows, at.width, call.of_query.of(index, shape).from(begin), shape.width);
  }
}

// The way back of a head of keys and of all heads that share it.
WITH_TILES void backward_head(const AttentionBackward<Narrow>& call, int64_t index, Scratch& at) {
  const Shape& shape = call.shape;
  const int64_t head = index * shape.groups;
  gather_rows(call.value.shared_by(head, shape), shape.tokens, shape.width, at.key.data());
  turn_pairs(at.key.data(), at.tokens, at.width, at.turned.data());
  gather_rows(call.key_of.shared_by(head, shape), shape.tokens, shape.width, at.key.data());
  pair_rows(at.key.data(), at.tokens, at.width, at.value.data());
  for (int64_t i = 0; i < shape.groups; i++) queries_backward(call, head + i, i, at);
  if (call.of_value.at) of_tokens(at.gradient.data(), at.kept.data(), call.of_value.shared_by(head, shape), shape, at);
  if (!call.of_key.at) return;
  for (int64_t i = 0; i < shape.groups; i++) {
    Narrow* rows = &at.query[i * filled(shape.queries) * at.width];
    gather_rows(call.query.of(head + i, shape), shape.queries, shape.width, rows);
  }
  of_tokens(at.query.data(), at.of_scores.data(), call.of_key.shared_by(head, shape), shape, at);
}

// Each head of each row is computed by one thread, from the same values in the same order.
template <typename Call>
WITH_TILES void each_head(const Call& call, bool backward, int64_t begin, int64_t end,
                          void (*work)(const Call&, int64_t, Scratch&)) {
  const FullTiles tiles;
  Scratch scratch(call.shape, backward);
  for (int64_t index = begin; index < end; index++) work(call, index, scratch);
}

}  // namespace

void attention_forward(const AttentionForward<Narrow>& call, int64_t begin, int64_t end) {
  each_head(call, false, begin, end, forward_head);
}

void attention_backward(const AttentionBackward<Narrow>& call, int64_t begin, int64_t end) {
  each_head(call, true, begin, end, backward_head);
}

#else

void attention_forward(const AttentionForward<Narrow>&, int64_t, int64_t) {}
void attention_backward(const AttentionBackward<Narrow>&, int64_t, int64_t) {}

#endif
