// What a language model's loss needs of the logits, and their gradient in their place, row by row: a row
// stays in the caches from its first reading to its last, and nothing as large as the logits is kept
// beside them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels.h"
#include "vectors.h"

namespace {

// Values whose sums are taken in float32, before these are added in float64.
constexpr int64_t BLOCK = 4096;

constexpr float NONE = -std::numeric_limits<float>::infinity();

// A row in float32, and behind its end, up to whole vectors, what is below all numbers. Returns the largest.
template <typename T>
WITHIN float widen(const T* row, int64_t count, float* wide) {
  Half most[2] = {Half{} + NONE, Half{} + NONE};
  int64_t at = 0;
  for (; at + LANES <= count; at += LANES) {
    const Half first = widened(row + at), second = widened(row + at + HALF);
    store(wide + at, first);
    store(wide + at + HALF, second);
    most[0] = first > most[0] ? first : most[0];
    most[1] = second > most[1] ? second : most[1];
  }
  float largest = NONE;
  for (int i = 0; i < HALF; i++) largest = std::max(largest, std::max(most[0][i], most[1][i]));
  std::fill(wide + at, wide + padded(count), NONE);
  for (; at < count; at++) {
    wide[at] = static_cast<float>(row[at]);
    largest = std::max(largest, wide[at]);
  }
  return largest;
}

// Values to their shares, e^(x - most), in place. Returns the sum.
WITHIN double shares_of(float* wide, int64_t width, float most) {
  double all = 0.0;
  for (int64_t begin = 0; begin < width; begin += BLOCK) {
    Half sums[2] = {};
    for (int64_t at = begin; at < std::min(begin + BLOCK, width); at += LANES) {
      const Half first = bounded_exponential(load(wide + at) - most);
      const Half second = bounded_exponential(load(wide + at + HALF) - most);
      store(wide + at, first);
      store(wide + at + HALF, second);
      sums[0] += first;
      sums[1] += second;
    }
    all += total(sums);
  }
  return all;
}

WITHIN double sum_of(const float* wide, int64_t count) {
  double all = 0.0;
  for (int64_t begin = 0; begin < count; begin += BLOCK) {
    const int64_t end = std::min(begin + BLOCK, count);
    int64_t at = begin;
    Half sums[2] = {};
    for (; at + LANES <= end; at += LANES) {
      sums[0] += load(wide + at);
      sums[1] += load(wide + at + HALF);
    }
    all += total(sums);
    for (; at < end; at++) all += wide[at];
  }
  return all;
}

// What a row's gradient is computed with: the inverse of the sum of shares, and that of the cap, or 0.
struct Slope {
  float scale, inverse_cap;

  // By logits before they were capped: (p - wanted) (1 - (y / cap)^2).
  WITHIN Half of(Half share, Half logits, float wanted) const {
    const Half capped = logits * inverse_cap;
    return (share * scale - wanted) * (1.0f - capped * capped);
  }
};

template <typename T>
WITHIN void put_gradient(T* row, int64_t count, const float* shares, const Slope& slope, float wanted) {
  for (int64_t at = 0; at < count; at += HALF) {
    const Half logits = widened(row + at, count - at);
    put(row + at, slope.of(load(shares + at), logits, wanted), count - at);
  }
}

// `wide` has room for a row, padded.
template <typename T>
WITHIN void of_row(const CrossEntropy<T>& call, int64_t index, float* wide) {
  const int64_t count = call.vocabulary, token = call.tokens[index];
  T* row = call.logits + index * call.step;
  const float most = widen(row, count, wide), own = wide[token];
  const double values = call.all ? sum_of(wide, count) : 0.0;
  const double shares = shares_of(wide, padded(count), most), log_sum = most + std::log(shares);
  call.own[index] = static_cast<float>(own - log_sum);
  if (call.all) call.all[index] = static_cast<float>(values - count * log_sum);
  if (!call.with_gradient) return;
  const Slope slope = {static_cast<float>(1.0 / shares), call.cap == 0.0f ? 0.0f : 1.0f / call.cap};
  const float spread = call.smoothing / static_cast<float>(count), wanted = spread + (1.0f - call.smoothing);
  put_gradient(row, count, wide, slope, spread);
  row[token] = static_cast<T>(slope.of(Half{} + wide[token], Half{} + own, wanted)[0]);
}

FOR_EACH_CPU void of_floats(const CrossEntropy<float>& call, int64_t begin, int64_t end) {
  std::vector<float> wide(padded(call.vocabulary));
  for (int64_t index = begin; index < end; index++) of_row(call, index, wide.data());
}

FOR_EACH_CPU void of_bfloat16(const CrossEntropy<c10::BFloat16>& call, int64_t begin, int64_t end) {
  std::vector<float> wide(padded(call.vocabulary));
  for (int64_t index = begin; index < end; index++) of_row(call, index, wide.data());
}

}  // namespace

void cross_entropy(const CrossEntropy<float>& call, int64_t begin, int64_t end) { of_floats(call, begin, end); }
void cross_entropy(const CrossEntropy<c10::BFloat16>& call, int64_t begin, int64_t end) {
  of_bfloat16(call, begin, end);
}
