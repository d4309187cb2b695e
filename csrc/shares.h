// What kernels over a vocabulary's logits compute of a row: its shares, e^(x - largest), which by their
// sum are probabilities.
#pragma once
#include <algorithm>
#include <limits>

#include "vectors.h"

// Values whose sums are taken in float32, before these are added in float64.
constexpr int64_t BLOCK = 4096;

constexpr float NONE = -std::numeric_limits<float>::infinity();

// A row's values, one for each lane.
template <typename V>
WITHIN Lanes<V> lanes_of(const float* row) {
  Lanes<V> values;
  for (int64_t i = 0; i < PARTS<V>; i++) values.part[i] = load<V>(row + i * COUNT<V>);
  return values;
}

// The same of bfloat16, first those at even places and then those at odd ones: in halves that needs no shuffle,
// in whole vectors it would.
template <typename V>
WITHIN Lanes<V> lanes_of(const c10::BFloat16* row) {
  static_assert(PARTS<V> == 2);
  Words<V> pairs;
  std::memcpy(&pairs, row, sizeof pairs);
  const Words<V> first = pairs << 16, second = pairs & 0xffff0000;
  Lanes<V> values;
  std::memcpy(&values.part[0], &first, sizeof first);
  std::memcpy(&values.part[1], &second, sizeof second);
  return values;
}

template <typename V>
WITHIN void put(float* to, const Lanes<V>& values) {
  for (int64_t i = 0; i < PARTS<V>; i++) put(to + i * COUNT<V>, values.part[i]);
}

template <typename V>
WITHIN void put(c10::BFloat16* to, const Lanes<V>& values) {
  static_assert(PARTS<V> == 2);
  const Words<V> pairs = rounded(values.part[0]) >> 16 | (rounded(values.part[1]) & 0xffff0000);
  std::memcpy(to, &pairs, sizeof pairs);
}

// The last values of a row, fewer than there are lanes, and behind them what is below all numbers.
template <typename V, typename T>
WITHIN Lanes<V> last_of(const T* row, int64_t count) {
  T some[LANES];
  std::fill(some, some + LANES, static_cast<T>(NONE));
  std::copy(row, row + count, some);
  return lanes_of<V>(some);
}

// Values to their shares, which are added to sums.
template <typename V>
WITHIN void to_shares(Lanes<V>& values, float most, Lanes<V>& sums) {
  for (int64_t i = 0; i < PARTS<V>; i++) values.part[i] = bounded_exponential<V>(values.part[i] - most);
  sums += values;
}

// The sum of a row's shares, which are put into `shares` if that is given. What is no number makes none of it.
// Meanwhile the row that is next is fetched.
template <typename V, typename T>
WITHIN double shares_of(const T* row, int64_t count, float most, float* shares, const T* next) {
  double all = 0.0;
  for (int64_t begin = 0; begin < count; begin += BLOCK) {
    const int64_t end = std::min(begin + BLOCK, count);
    int64_t at = begin;
    Lanes<V> sums = {};
    for (; at + LANES <= end; at += LANES) {
      __builtin_prefetch(next + at, 0, 2);
      Lanes<V> values = lanes_of<V>(row + at);
      to_shares(values, most, sums);
      if (shares) put(shares + at, values);
    }
    if (at < end) {
      Lanes<V> values = last_of<V>(row + at, end - at);
      to_shares(values, most, sums);
      if (shares) put(shares + at, values);
    }
    all += total(sums);
  }
  return all;
}
