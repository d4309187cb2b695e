// The likeliest tokens under logits, row by row: a row is read twice, and nothing as large as the logits is
// made of them.
#include <algorithm>
#include <cmath>

#include "kernels.h"
#include "shares.h"

namespace {

// Values that are looked at together: mostly none of them is among the largest.
constexpr int64_t STRIP = 4 * LANES;

// The largest values so far, the largest first, and of equals the first that was met.
struct Largest {
  int64_t width;
  double* values;
  int64_t* places;

  WITHIN float least() const { return static_cast<float>(values[width - 1]); }

  WITHIN void take(float value, int64_t place) {
    int64_t at = width - 1;
    for (; at > 0 && values[at - 1] < value; at--) {
      values[at] = values[at - 1];
      places[at] = places[at - 1];
    }
    values[at] = value;
    places[at] = place;
  }
};

template <typename V, typename T>
WITHIN void find_largest(const T* row, int64_t count, Largest& largest) {
  std::fill(largest.values, largest.values + largest.width, NONE);
  std::fill(largest.places, largest.places + largest.width, 0);
  for (int64_t begin = 0; begin < count; begin += STRIP) {
    const int64_t end = std::min(begin + STRIP, count);
    const float least = largest.least();
    if (end - begin == STRIP) {
      Integers<V> more = {};
      for (int64_t at = begin; at < end; at += COUNT<V>) more |= widened<V>(row + at) > least;
      int32_t found[COUNT<V>], any = 0;
      std::memcpy(found, &more, sizeof found);
      for (int32_t one : found) any |= one;
      if (!any) continue;
    }
    for (int64_t at = begin; at < end; at++) {
      const float value = static_cast<float>(row[at]);
      if (value > largest.least()) largest.take(value, at);
    }
  }
}

template <typename V, typename T>
WITHIN void of_row(const Likeliest<T>& call, int64_t index) {
  const T* row = call.logits + index * call.step;
  Largest largest = {call.width, call.log_probabilities + index * call.width, call.tokens + index * call.width};
  find_largest<V>(row, call.vocabulary, largest);
  const float most = static_cast<float>(largest.values[0]);
  const double log_sum = most + std::log(shares_of<V>(row, call.vocabulary, most, nullptr, row + call.step));
  for (int64_t i = 0; i < call.width; i++) largest.values[i] -= log_sum;
}

template <typename V, typename T>
WITHIN void of_rows(const Likeliest<T>& call, int64_t begin, int64_t end) {
  for (int64_t index = begin; index < end; index++) of_row<V>(call, index);
}

FOR_EACH_CPU void of_bfloat16(const Likeliest<c10::BFloat16>& call, int64_t begin, int64_t end) {
  of_rows<Half>(call, begin, end);
}

}  // namespace

KERNEL(likeliest, of_rows, Likeliest<float>)

void likeliest(const Likeliest<c10::BFloat16>& call, int64_t begin, int64_t end) { of_bfloat16(call, begin, end); }
