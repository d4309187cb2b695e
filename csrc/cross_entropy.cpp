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

// Of two values each the larger; what is no number is passed over.
template <typename V>
WITHIN Lanes<V> larger_of(const Lanes<V>& values, Lanes<V> others) {
  for (int64_t i = 0; i < PARTS<V>; i++) {
    others.part[i] = values.part[i] > others.part[i] ? values.part[i] : others.part[i];
  }
  return others;
}

template <typename V, typename T>
WITHIN float largest_in(const T* row, int64_t count) {
  Lanes<V> most;
  for (int64_t i = 0; i < PARTS<V>; i++) most.part[i] = V{} + NONE;
  int64_t at = 0;
  for (; at + LANES <= count; at += LANES) most = larger_of(lanes_of<V>(row + at), most);
  if (at < count) most = larger_of(last_of<V>(row + at, count - at), most);
  float largest = NONE;
  for (int64_t i = 0; i < PARTS<V>; i++) largest = std::max(largest, largest_of(most.part[i]));
  return largest;
}

template <typename V, typename T>
WITHIN double sum_of(const T* row, int64_t count) {
  double all = 0.0;
  for (int64_t begin = 0; begin < count; begin += BLOCK) {
    const int64_t end = std::min(begin + BLOCK, count);
    int64_t at = begin;
    Lanes<V> sums = {};
    for (; at + LANES <= end; at += LANES) sums += lanes_of<V>(row + at);
    all += total(sums);
    for (; at < end; at++) all += static_cast<float>(row[at]);
  }
  return all;
}

// What a row's gradient is computed with: the inverse of the sum of shares, and that of the cap.
struct Slope {
  float scale, inverse_cap;

  // By logits before they were capped: (p - wanted) (1 - (y / cap)^2).
  template <bool is_capped, typename V>
  WITHIN V of(V share, V logits, float wanted) const {
    const V gradient = share * scale - wanted;
    if (!is_capped) return gradient;
    const V capped = logits * inverse_cap;
    return gradient * (1.0f - capped * capped);
  }

  template <bool is_capped, typename V>
  WITHIN Lanes<V> of_lanes(Lanes<V> shares, const Lanes<V>& logits, float wanted) const {
    for (int64_t i = 0; i < PARTS<V>; i++) shares.part[i] = of<is_capped>(shares.part[i], logits.part[i], wanted);
    return shares;
  }
};

template <typename V, bool is_capped, typename T>
WITHIN void put_gradient(T* row, int64_t count, const float* shares, const Slope& slope, float wanted) {
  int64_t at = 0;
  for (; at + LANES <= count; at += LANES) {
    const Lanes<V> logits = is_capped ? lanes_of<V>(row + at) : Lanes<V>{};
    put(row + at, slope.of_lanes<is_capped>(lanes_of<V>(shares + at), logits, wanted));
  }
  if (at == count) return;
  T some[LANES];
  const Lanes<V> logits = last_of<V>(row + at, count - at);
  put(some, slope.of_lanes<is_capped>(lanes_of<V>(shares + at), logits, wanted));
  std::copy(some, some + (count - at), row + at);
}

// The gradient of a row that `shares` are of, in its place.
template <typename V, bool is_capped, typename T>
WITHIN void to_gradient(const CrossEntropy<T>& call, T* row, int64_t token, const float* shares, float most,
                        const Slope& slope) {
  const float spread = call.smoothing / static_cast<float>(call.vocabulary), wanted = spread + (1.0f - call.smoothing);
  const V own = V{} + static_cast<float>(row[token]), share = bounded_exponential<V>(own - most);
  put_gradient<V, is_capped>(row, call.vocabulary, shares, slope, spread);
  row[token] = static_cast<T>(slope.of<is_capped>(share, own, wanted)[0]);
}

// `shares` has room for a row, padded.
template <typename V, typename T>
WITHIN void of_row(const CrossEntropy<T>& call, int64_t index, float* shares) {
  const int64_t count = call.vocabulary, token = call.tokens[index];
  T* row = call.logits + index * call.step;
  const float most = largest_in<V>(row, count);
  const double sum = shares_of<V>(row, count, most, shares, row + call.step), log_sum = most + std::log(sum);
  call.own[index] = static_cast<float>(static_cast<float>(row[token]) - log_sum);
  if (call.all) call.all[index] = static_cast<float>(sum_of<V>(row, count) - count * log_sum);
  if (!call.with_gradient) return;
  const float scale = static_cast<float>(1.0 / sum);
  if (call.cap == 0.0f) return to_gradient<V, false>(call, row, token, shares, most, {scale, 0.0f});
  to_gradient<V, true>(call, row, token, shares, most, {scale, 1.0f / call.cap});
}

template <typename V, typename T>
WITHIN void of_rows(const CrossEntropy<T>& call, int64_t begin, int64_t end) {
  std::vector<float> shares(padded(call.vocabulary));
  for (int64_t index = begin; index < end; index++) of_row<V>(call, index, shares.data());
}

FOR_EACH_CPU void of_bfloat16(const CrossEntropy<c10::BFloat16>& call, int64_t begin, int64_t end) {
  of_rows<Half>(call, begin, end);
}

}  // namespace

KERNEL(cross_entropy, of_rows, CrossEntropy<float>)

void cross_entropy(const CrossEntropy<c10::BFloat16>& call, int64_t begin, int64_t end) {
  has_tiles() && call.cap == 0.0f ? narrow_cross_entropy(call, begin, end) : of_bfloat16(call, begin, end);
}
