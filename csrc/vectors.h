// What the kernels compute with: vectors of floats, and softmax. Everything is inlined, so that
// each copy of a kernel has it for its own level of instructions.
#pragma once
#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels.h"

constexpr int64_t LANES = ATTENTION_LANES;
// Half of a kernel's lanes: with AVX2, compilers keep sums of whole ones in memory and not in registers,
// at a fifth of the speed.
constexpr int64_t HALF = LANES / 2;
typedef float Half __attribute__((vector_size(HALF * sizeof(float))));
typedef int32_t Integers __attribute__((vector_size(HALF * sizeof(int32_t))));

WITHIN Half load(const float* from) {
  Half lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

WITHIN void store(float* to, Half lanes) { std::memcpy(to, &lanes, sizeof lanes); }

typedef uint16_t Shorts __attribute__((vector_size(HALF * sizeof(uint16_t))));
typedef uint32_t Words __attribute__((vector_size(HALF * sizeof(uint32_t))));

WITHIN Half widened(const float* from) { return load(from); }

WITHIN Half widened(const c10::BFloat16* from) {
  Shorts bits;
  std::memcpy(&bits, from, sizeof bits);
  const Words words = __builtin_convertvector(bits, Words) << 16;
  Half values;
  std::memcpy(&values, &words, sizeof values);
  return values;
}

WITHIN void put(float* to, Half values) { store(to, values); }

// Values whose upper halves are these in bfloat16: to the nearest, halves to even.
WITHIN Words rounded(Half values) {
  Words words;
  std::memcpy(&words, &values, sizeof words);
  // Rounding would make a number of what is none.
  return values == values ? words + 0x7fff + (words >> 16 & 1) : Words{} + 0x7fc00000;
}

WITHIN void put(c10::BFloat16* to, Half values) {
  const Shorts bits = __builtin_convertvector(rounded(values) >> 16, Shorts);
  std::memcpy(to, &bits, sizeof bits);
}

// As many values as a vector holds twice, in an order of their own, which is that of all other values of
// their kind: bfloat16's are every other one each, which takes no shuffling.
struct Both {
  Half first, second;
};

WITHIN Both both_widened(const float* from) { return {load(from), load(from + HALF)}; }

WITHIN Both both_widened(const c10::BFloat16* from) {
  Words pairs;
  std::memcpy(&pairs, from, sizeof pairs);
  const Words first = pairs << 16, second = pairs & 0xffff0000;
  Both values;
  std::memcpy(&values.first, &first, sizeof first);
  std::memcpy(&values.second, &second, sizeof second);
  return values;
}

WITHIN void put(float* to, const Both& values) {
  store(to, values.first);
  store(to + HALF, values.second);
}

WITHIN void put(c10::BFloat16* to, const Both& values) {
  const Words pairs = rounded(values.first) >> 16 | (rounded(values.second) & 0xffff0000);
  std::memcpy(to, &pairs, sizeof pairs);
}

// Values of which there may be fewer than a vector holds; zeros behind them.
template <typename T>
WITHIN Half widened(const T* from, int64_t count) {
  if (count >= HALF) return widened(from);
  T some[HALF] = {};
  std::copy(from, from + count, some);
  return widened(some);
}

template <typename T>
WITHIN void put(T* to, Half values, int64_t count) {
  if (count >= HALF) return put(to, values);
  T some[HALF];
  put(some, values);
  std::copy(some, some + count, to);
}

// The sum of all lanes, in their order.
WITHIN float total(const Half (&halves)[2]) {
  float sum = 0.0f;
  for (int i = 0; i < LANES; i++) sum += halves[i / HALF][i % HALF];
  return sum;
}

// e^x of what is not positive, within two units in the last place: x = n ln 2 + f, and a polynomial
// of f by Cephes (Moshier, 1989).
WITHIN Half exponential(Half x) {
  const Half rounding = Half{} + 12582912.0f;  // 1.5 * 2^23: adding it leaves integers
  const Half n = (x * 1.44269504f + rounding) - rounding;
  const Half f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Half y = f * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * f + 8.3334519073e-3f;
  y = y * f + 4.1665795894e-2f;
  y = y * f + 1.6666665459e-1f;
  y = y * f + 5.0000001201e-1f;
  y = y * f * f + f + 1.0f;
  const Integers power = (__builtin_convertvector(n, Integers) + 127) << 23;
  Half scale;
  std::memcpy(&scale, &power, sizeof scale);
  return x < -87.0f ? Half{} : y * scale;
}

// e^x of what is not positive, however far below 0; what is no number stays none.
WITHIN Half bounded_exponential(Half x) { return exponential(x < -88.0f ? Half{} - 88.0f : x); }

// Scores to probabilities: softmax(scale * scores + bias) of the first `tokens`; zeros behind them, up
// to `end`.
WITHIN void softmax(float* scores, const float* bias, float scale, int64_t tokens, int64_t end) {
  const int64_t width = padded(tokens);
  for (int64_t j = 0; j < tokens; j++) scores[j] = scores[j] * scale + (bias ? bias[j] : 0.0f);
  std::fill(scores + tokens, scores + width, -std::numeric_limits<float>::infinity());
  Half lanes = load(scores);
  for (int64_t j = HALF; j < width; j += HALF) {
    const Half more = load(scores + j);
    lanes = more > lanes ? more : lanes;
  }
  float most = lanes[0];
  for (int i = 1; i < HALF; i++) most = std::max(most, lanes[i]);
  Half sums[2] = {};
  for (int64_t j = 0; j < width; j += HALF) {
    // What has no end, in either direction, is as far from the largest as can be.
    const Half far = load(scores + j) - most;
    const Half y = exponential(far > -88.0f ? far : Half{} - 88.0f);
    store(scores + j, y);
    sums[j / HALF % 2] += y;
  }
  const float sum = total(sums);
  for (int64_t j = 0; j < width; j += HALF) store(scores + j, load(scores + j) / sum);
  std::fill(scores + width, scores + end, 0.0f);
}
