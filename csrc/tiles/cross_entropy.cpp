// Cross-entropy over logits in bfloat16, as cross_entropy.cpp has it, with vectors that every processor with
// tiles has and no more digits than bfloat16 tells apart.
#include "tiles.h"

#ifdef HAS_TILE_INSTRUCTIONS
#include <limits>

#include "vectors.h"

namespace {

// Values that are read at a time, and those whose sums are taken in float32, before these are added in
// float64.
constexpr int64_t STEP = 2 * TILE, BLOCK = 4096;

struct Pair {
  Floats first, second;
};

// A row's values from one on, and behind its end what is below all numbers.
WITHIN_TILES Pair values_at(const Narrow* row, int64_t at, int64_t count) {
  const Floats none = all(-std::numeric_limits<float>::infinity());
  const __mmask16 some = first(count - at), others = first(count - at - TILE);
  return {_mm512_mask_mov_ps(none, some, widen(row + at, some)),
          _mm512_mask_mov_ps(none, others, widen(row + at + TILE, others))};
}

// The first `count` of 32 values, at most all of them.
WITHIN_TILES void put_pair(Narrow* to, const Pair& values, int64_t count) {
  const __m512i bits = (__m512i)_mm512_cvtne2ps_pbh(values.second, values.first);
  _mm512_mask_storeu_epi16(to, first(count) | static_cast<__mmask32>(first(count - TILE)) << TILE, bits);
}

WITHIN_TILES float largest_of(const Narrow* row, int64_t count) {
  Pair most = values_at(row, 0, count);
  for (int64_t at = STEP; at < count; at += STEP) {
    const Pair values = values_at(row, at, count);
    // In this order, what is no number is passed over: it makes none of the sum.
    most = {_mm512_max_ps(values.first, most.first), _mm512_max_ps(values.second, most.second)};
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(most.first, most.second));
}

// The sum of a row's shares, e^(x - largest), which are put into `shares`. Meanwhile the row that is next is
// fetched.
WITHIN_TILES double shares_of(const Narrow* row, int64_t count, float most, float* shares, const Narrow* next) {
  double sum = 0.0;
  for (int64_t begin = 0; begin < count; begin += BLOCK) {
    Pair sums = {all(0.0f), all(0.0f)};
    for (int64_t at = begin; at < std::min(begin + BLOCK, count); at += STEP) {
      _mm_prefetch(next + at, _MM_HINT_T1);
      const Pair values = values_at(row, at, count);
      const Floats one = exponential(_mm512_sub_ps(values.first, all(most)));
      const Floats other = exponential(_mm512_sub_ps(values.second, all(most)));
      _mm512_store_ps(shares + at, one);
      _mm512_store_ps(shares + at + TILE, other);
      sums = {_mm512_add_ps(sums.first, one), _mm512_add_ps(sums.second, other)};
    }
    sum += _mm512_reduce_add_ps(_mm512_add_ps(sums.first, sums.second));
  }
  return sum;
}

WITHIN_TILES double sum_of(const Narrow* row, int64_t count) {
  double sum = 0.0;
  for (int64_t begin = 0; begin < count; begin += BLOCK) {
    Floats sums = all(0.0f);
    for (int64_t at = begin; at < std::min(begin + BLOCK, count); at += TILE) {
      sums = _mm512_add_ps(sums, widen(row + at, first(count - at)));
    }
    sum += _mm512_reduce_add_ps(sums);
  }
  return sum;
}

float wide(Narrow bits) {
  const uint32_t word = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

// p(v) - (1 - smoothing) [v is the token] - smoothing / vocabulary, in the place of the logits.
WITHIN_TILES void put_gradient(const CrossEntropy<c10::BFloat16>& call, Narrow* row, int64_t token, const float* shares,
                               float scale) {
  const int64_t count = call.vocabulary;
  const float spread = call.smoothing / static_cast<float>(count);
  for (int64_t at = 0; at < count; at += STEP) {
    const Floats one = _mm512_load_ps(shares + at), other = _mm512_load_ps(shares + at + TILE);
    put_pair(row + at, {_mm512_fmsub_ps(one, all(scale), all(spread)), _mm512_fmsub_ps(other, all(scale), all(spread))},
        count - at);
  }
  put(row + token, all(shares[token] * scale - spread - (1.0f - call.smoothing)), first(1));
}

// `shares` has room for a row, up to a whole number of vectors.
WITHIN_TILES void of_row(const CrossEntropy<c10::BFloat16>& call, int64_t index, float* shares) {
  const int64_t count = call.vocabulary, token = call.tokens[index];
  Narrow* row = reinterpret_cast<Narrow*>(call.logits) + index * call.step;
  const float most = largest_of(row, count);
  const double sum = shares_of(row, count, most, shares, row + call.step), log_sum = most + std::log(sum);
  call.own[index] = static_cast<float>(wide(row[token]) - log_sum);
  if (call.all) call.all[index] = static_cast<float>(sum_of(row, count) - count * log_sum);
  if (call.with_gradient) put_gradient(call, row, token, shares, static_cast<float>(1.0 / sum));
}

}  // namespace

WITH_TILES void narrow_cross_entropy(const CrossEntropy<c10::BFloat16>& call, int64_t begin, int64_t end) {
  Values<float> shares(filled(call.vocabulary));
  for (int64_t index = begin; index < end; index++) of_row(call, index, shares.data());
}

#else

void narrow_cross_entropy(const CrossEntropy<c10::BFloat16>&, int64_t, int64_t) {}

#endif
