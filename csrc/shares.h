// What kernels over a vocabulary's logits compute of a row: its shares, e^(x - largest), which by their
// sum are probabilities.
#pragma once
#include <algorithm>
#include <limits>

#include "vectors.h"

// Values whose sums are taken in float32, before these are added in float64.
constexpr int64_t BLOCK = 4096;

constexpr float NONE = -std::numeric_limits<float>::infinity();

// A row's values from one on, and behind its end what is below all numbers.
template <typename T>
WITHIN Both values_at(const T* row, int64_t at, int64_t count) {
  if (at + LANES <= count) return both_widened(row + at);
  T some[LANES];
  std::fill(some, some + LANES, static_cast<T>(NONE));
  std::copy(row + at, row + count, some);
  return both_widened(some);
}

// The sum of a row's shares, which are put into `shares` if that is given. What is no number makes none of it.
template <typename T>
WITHIN double shares_of(const T* row, int64_t count, float most, float* shares) {
  double all = 0.0;
  for (int64_t begin = 0; begin < count; begin += BLOCK) {
    Half sums[2] = {};
    for (int64_t at = begin; at < std::min(begin + BLOCK, count); at += LANES) {
      const Both values = values_at(row, at, count);
      const Both own = {bounded_exponential(values.first - most), bounded_exponential(values.second - most)};
      if (shares) put(shares + at, own);
      sums[0] += own.first;
      sums[1] += own.second;
    }
    all += total(sums);
  }
  return all;
}
