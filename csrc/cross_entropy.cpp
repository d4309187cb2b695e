// What a language model's loss needs of the logits, and their gradient in their place, row by row: a row
// stays in the caches from its first reading to its last, and nothing as large as the logits is kept
// beside them.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels.h"
#include "shares.h"
#include "tiles/tiles.h"

namespace {

template <typename T>
WITHIN float largest_of(const T* row, int64_t count) {
  Half most[2] = {Half{} + NONE, Half{} + NONE};
  for (int64_t at = 0; at < count; at += LANES) {
    const Both values = values_at(row, at, count);
    most[0] = values.first > most[0] ? values.first : most[0];
    most[1] = values.second > most[1] ? values.second : most[1];
  }
  float largest = NONE;
  for (int i = 0; i < HALF; i++) largest = std::max(largest, std::max(most[0][i], most[1][i]));
  return largest;
}

template <typename T>
WITHIN double sum_of(const T* row, int64_t count) {
  double all = 0.0;
  for (int64_t begin = 0; begin < count; begin += BLOCK) {
    const int64_t end = std::min(begin + BLOCK, count);
    int64_t at = begin;
    Half sums[2] = {};
    for (; at + LANES <= end; at += LANES) {
      const Both values = both_widened(row + at);
      sums[0] += values.first;
      sums[1] += values.second;
    }
    all += total(sums);
    for (; at < end; at++) all += static_cast<float>(row[at]);
  }
  return all;
}

// What a row's gradient is computed with: the inverse of the sum of shares, and that of the cap.
struct Slope {
  float scale, inverse_cap;

  // By logits before they were capped: (p - wanted) (1 - (y / cap)^2).
  template <bool is_capped>
  WITHIN Half of(Half share, Half logits, float wanted) const {
    const Half gradient = share * scale - wanted;
    if (!is_capped) return gradient;
    const Half capped = logits * inverse_cap;
    return gradient * (1.0f - capped * capped);
  }
};

template <bool is_capped, typename T>
WITHIN void put_gradient(T* row, int64_t count, const float* shares, const Slope& slope, float wanted) {
  for (int64_t at = 0; at < count; at += LANES) {
    const Both share = both_widened(shares + at), logits = is_capped ? values_at(row, at, count) : Both{};
    const Both gradient = {slope.of<is_capped>(share.first, logits.first, wanted),
                           slope.of<is_capped>(share.second, logits.second, wanted)};
    if (at + LANES <= count) {
      put(row + at, gradient);
      continue;
    }
    T some[LANES];
    put(some, gradient);
    std::copy(some, some + (count - at), row + at);
  }
}

// The gradient of a row that `shares` are of, in its place.
template <bool is_capped, typename T>
WITHIN void to_gradient(const CrossEntropy<T>& call, T* row, int64_t token, const float* shares, float most,
                        const Slope& slope) {
  const float spread = call.smoothing / static_cast<float>(call.vocabulary), wanted = spread + (1.0f - call.smoothing);
  const Half own = Half{} + static_cast<float>(row[token]), share = bounded_exponential(own - most);
  put_gradient<is_capped>(row, call.vocabulary, shares, slope, spread);
  row[token] = static_cast<T>(slope.of<is_capped>(share, own, wanted)[0]);
}

// `shares` has room for a row, padded.
template <typename T>
WITHIN void of_row(const CrossEntropy<T>& call, int64_t index, float* shares) {
  const int64_t count = call.vocabulary, token = call.tokens[index];
  T* row = call.logits + index * call.step;
  const float most = largest_of(row, count);
  const double sum = shares_of(row, count, most, shares), log_sum = most + std::log(sum);
  call.own[index] = static_cast<float>(static_cast<float>(row[token]) - log_sum);
  if (call.all) call.all[index] = static_cast<float>(sum_of(row, count) - count * log_sum);
  if (!call.with_gradient) return;
  const float scale = static_cast<float>(1.0 / sum);
  if (call.cap == 0.0f) return to_gradient<false>(call, row, token, shares, most, {scale, 0.0f});
  to_gradient<true>(call, row, token, shares, most, {scale, 1.0f / call.cap});
}

FOR_EACH_CPU void of_floats(const CrossEntropy<float>& call, int64_t begin, int64_t end) {
  std::vector<float> shares(padded(call.vocabulary));
  for (int64_t index = begin; index < end; index++) of_row(call, index, shares.data());
}

FOR_EACH_CPU void of_bfloat16(const CrossEntropy<c10::BFloat16>& call, int64_t begin, int64_t end) {
  std::vector<float> shares(padded(call.vocabulary));
  for (int64_t index = begin; index < end; index++) of_row(call, index, shares.data());
}

}  // namespace

void cross_entropy(const CrossEntropy<float>& call, int64_t begin, int64_t end) { of_floats(call, begin, end); }
void cross_entropy(const CrossEntropy<c10::BFloat16>& call, int64_t begin, int64_t end) {
  has_tiles() && call.cap == 0.0f ? narrow_cross_entropy(call, begin, end) : of_bfloat16(call, begin, end);
}
