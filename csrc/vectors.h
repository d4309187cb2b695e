// What the kernels compute with: vectors of floats, and softmax. Everything is inlined, so that
// each copy of a kernel has it for its own level of instructions.
//
// Kernels are templates of their vectors. Sums are kept in LANES lanes whatever these are, so that they
// come to the same bits.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "kernels.h"

constexpr int64_t LANES = ATTENTION_LANES;

// Vectors of N floats, and of as many numbers of other kinds.
template <int64_t N>
struct Vectors {
  typedef float Floats __attribute__((vector_size(N * sizeof(float))));
  typedef int32_t Integers __attribute__((vector_size(N * sizeof(int32_t))));
  typedef uint32_t Words __attribute__((vector_size(N * sizeof(uint32_t))));
  typedef uint16_t Shorts __attribute__((vector_size(N * sizeof(uint16_t))));
};

// All lanes, for AVX-512; and half of them, for AVX2, with which compilers keep sums of whole ones in memory
// and not in registers, at a fifth of the speed.
typedef Vectors<LANES>::Floats Whole;
typedef Vectors<LANES / 2>::Floats Half;

// Values in a vector, and vectors that have all lanes.
template <typename V>
constexpr int64_t COUNT = sizeof(V) / sizeof(float);
template <typename V>
constexpr int64_t PARTS = LANES / COUNT<V>;

template <typename V>
using Integers = typename Vectors<COUNT<V>>::Integers;
template <typename V>
using Words = typename Vectors<COUNT<V>>::Words;
template <typename V>
using Shorts = typename Vectors<COUNT<V>>::Shorts;

// A kernel: the function NAME for calls of a type is WORK<V>(call, begin, end) with the widest vectors that
// the processor has, and that libtorch's own kernels may take.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#if __GNUC__ >= 12
#define BY_WHOLES __attribute__((target("arch=x86-64-v4")))
#define BY_HALVES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define BY_WHOLES __attribute__((target("avx512f")))
#define BY_HALVES __attribute__((target_clones("avx2", "default")))
#endif
inline bool has_whole_vectors() {
  static const bool found = [] {
    const char* told = std::getenv("ATEN_CPU_CAPABILITY");
    const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512vl");
    return has && (!told || std::strcmp(told, "avx512") == 0);
  }();
  return found;
}
#define KERNEL(NAME, WORK, ...)                                                                             \
  BY_WHOLES static void NAME##_by_wholes(const __VA_ARGS__& call, int64_t begin, int64_t end) {            \
    WORK<Whole>(call, begin, end);                                                                          \
  }                                                                                                         \
  BY_HALVES static void NAME##_by_halves(const __VA_ARGS__& call, int64_t begin, int64_t end) {            \
    WORK<Half>(call, begin, end);                                                                           \
  }                                                                                                         \
  void NAME(const __VA_ARGS__& call, int64_t begin, int64_t end) {                                          \
    has_whole_vectors() ? NAME##_by_wholes(call, begin, end) : NAME##_by_halves(call, begin, end);          \
  }
#else
#define KERNEL(NAME, WORK, ...) \
  void NAME(const __VA_ARGS__& call, int64_t begin, int64_t end) { WORK<Half>(call, begin, end); }
#endif

template <typename V>
WITHIN V load(const float* from) {
  V values;
  std::memcpy(&values, from, sizeof values);
  return values;
}

template <typename V>
WITHIN V widened(const float* from) {
  return load<V>(from);
}

template <typename V>
WITHIN V widened(const c10::BFloat16* from) {
  Shorts<V> bits;
  std::memcpy(&bits, from, sizeof bits);
  const Words<V> words = __builtin_convertvector(bits, Words<V>) << 16;
  V values;
  std::memcpy(&values, &words, sizeof values);
  return values;
}

template <typename V>
WITHIN void put(float* to, V values) {
  std::memcpy(to, &values, sizeof values);
}

// Values whose upper halves are these in bfloat16: to the nearest, halves to even.
template <typename V>
WITHIN Words<V> rounded(V values) {
  Words<V> words;
  std::memcpy(&words, &values, sizeof words);
  // Rounding would make a number of what is none.
  return values == values ? words + 0x7fff + (words >> 16 & 1) : Words<V>{} + 0x7fc00000;
}

template <typename V>
WITHIN void put(c10::BFloat16* to, V values) {
  const Shorts<V> bits = __builtin_convertvector(rounded(values) >> 16, Shorts<V>);
  std::memcpy(to, &bits, sizeof bits);
}

// Values of which there may be fewer than a vector holds; zeros behind them.
template <typename V, typename T>
WITHIN V widened(const T* from, int64_t count) {
  if (count >= COUNT<V>) return widened<V>(from);
  T some[COUNT<V>] = {};
  std::copy(from, from + count, some);
  return widened<V>(some);
}

template <typename V, typename T>
WITHIN void put(T* to, V values, int64_t count) {
  if (count >= COUNT<V>) return put(to, values);
  T some[COUNT<V>];
  put(some, values);
  std::copy(some, some + count, to);
}

// A value for each lane.
template <typename V>
struct Lanes {
  V part[PARTS<V>];
};

template <typename V>
WITHIN void operator+=(Lanes<V>& to, const Lanes<V>& more) {
  for (int64_t i = 0; i < PARTS<V>; i++) to.part[i] += more.part[i];
}

// The sum of all lanes, in their order. From a copy of them: what is read lane by lane is kept in memory
// all along.
template <typename V>
WITHIN float total(const Lanes<V>& lanes) {
  float values[LANES], sum = 0.0f;
  std::memcpy(values, &lanes, sizeof values);
  for (float value : values) sum += value;
  return sum;
}

// The largest of a vector's values.
template <typename V>
WITHIN float largest_of(const V& values) {
  float some[COUNT<V>];
  std::memcpy(some, &values, sizeof some);
  for (int64_t half = COUNT<V> / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; i++) some[i] = std::max(some[i], some[i + half]);
  }
  return some[0];
}

// e^x of what is not positive, within two units in the last place: x = n ln 2 + f, and a polynomial
// of f by Cephes (Moshier, 1989).
template <typename V>
WITHIN V exponential(V x) {
  const V rounding = V{} + 12582912.0f;  // 1.5 * 2^23: adding it leaves integers
  const V n = (x * 1.44269504f + rounding) - rounding;
  const V f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  V y = f * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * f + 8.3334519073e-3f;
  y = y * f + 4.1665795894e-2f;
  y = y * f + 1.6666665459e-1f;
  y = y * f + 5.0000001201e-1f;
  y = y * f * f + f + 1.0f;
  const Integers<V> power = (__builtin_convertvector(n, Integers<V>) + 127) << 23;
  V scale;
  std::memcpy(&scale, &power, sizeof scale);
  return x < -87.0f ? V{} : y * scale;
}

// e^x of what is not positive, however far below 0; what is no number stays none.
template <typename V>
WITHIN V bounded_exponential(V x) {
  return exponential<V>(x < -88.0f ? V{} - 88.0f : x);
}

// Scores to probabilities: softmax(scale * scores + bias) of the first `tokens`; zeros behind them, up
// to `end`.
template <typename V>
WITHIN void softmax(float* scores, const float* bias, float scale, int64_t tokens, int64_t end) {
  const int64_t width = padded(tokens);
  for (int64_t j = 0; j < tokens; j++) scores[j] = scores[j] * scale + (bias ? bias[j] : 0.0f);
  std::fill(scores + tokens, scores + width, -std::numeric_limits<float>::infinity());
  // What is no number is passed over.
  V largest = V{} - std::numeric_limits<float>::infinity();
  for (int64_t j = 0; j < width; j += COUNT<V>) {
    const V more = load<V>(scores + j);
    largest = more > largest ? more : largest;
  }
  const float most = largest_of(largest);
  Lanes<V> sums = {};
  for (int64_t j = 0; j < width; j += LANES) {
    for (int64_t part = 0; part < PARTS<V>; part++) {
      float* at = scores + j + part * COUNT<V>;
      // What has no end, in either direction, is as far from the largest as can be.
      const V far = load<V>(at) - most;
      const V y = exponential<V>(far > -88.0f ? far : V{} - 88.0f);
      put(at, y);
      sums.part[part] += y;
    }
  }
  const float sum = total(sums);
  for (int64_t j = 0; j < width; j += COUNT<V>) put<V>(scores + j, load<V>(scores + j) / sum);
  std::fill(scores + width, scores + end, 0.0f);
}
