// What the kernels for tiles compute with: tiles of one size, and vectors of 16 floats, which every
// processor with tiles has.
#pragma once
#include <immintrin.h>

#include <algorithm>
#include <new>
#include <vector>

#include "tiles.h"

#define WITH_TILES \
  __attribute__((target("avx2,fma,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")))
#define WITHIN_TILES WITH_TILES inline __attribute__((always_inline))

// All eight tiles of full size, for a thread while it lives: other libraries use tiles of other sizes.
class FullTiles {
  struct alignas(64) Config {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
  };

 public:
  WITH_TILES FullTiles() {
    Config config;
    std::fill_n(config.bytes, 8, static_cast<uint16_t>(64));
    std::fill_n(config.rows, 8, static_cast<uint8_t>(TILE));
    // GCC believes that the instruction reads the first eight bytes alone: the others could come too late.
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
  }
  WITH_TILES ~FullTiles() { _tile_release(); }
};

// Memory from where a line of the cache begins: a tile whose rows lie in two lines each takes six times as
// long to load.
template <typename T>
struct FromLine {
  typedef T value_type;
  static constexpr std::align_val_t LINE{64};
  FromLine() = default;
  template <typename U>
  FromLine(const FromLine<U>&) {}
  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), LINE)); }
  void deallocate(T* values, size_t) { ::operator delete(values, LINE); }
  template <typename U>
  bool operator==(const FromLine<U>&) const { return true; }
  template <typename U>
  bool operator!=(const FromLine<U>&) const { return false; }
};

// Values that tiles, and whole vectors, are loaded from.
template <typename T>
using Values = std::vector<T, FromLine<T>>;

typedef __m512 Floats;

// The first of 16 values.
WITHIN_TILES __mmask16 first(int64_t count) { return count >= TILE ? 0xffff : count <= 0 ? 0 : (1u << count) - 1; }

WITHIN_TILES Floats widen(const Narrow* from, __mmask16 mask = 0xffff) {
  const __m256i bits = _mm256_maskz_loadu_epi16(mask, from);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

WITHIN_TILES Floats widen(const float* from) { return _mm512_loadu_ps(from); }

WITHIN_TILES void put(float* to, Floats values) { _mm512_storeu_ps(to, values); }

WITHIN_TILES void put(Narrow* to, Floats values, __mmask16 mask = 0xffff) {
  _mm256_mask_storeu_epi16(to, mask, (__m256i)_mm512_cvtneps_pbh(values));
}

WITHIN_TILES Floats all(float value) { return _mm512_set1_ps(value); }

// 2^x within 3e-6 of it, which is far below what bfloat16 tells apart; 0 from where it would be below what
// is normal. What is no number stays none.
WITHIN_TILES Floats power_of_two(Floats x) {
  const __mmask16 counts = _mm512_cmp_ps_mask(x, all(-126.0f), _CMP_NLT_UQ);
  const Floats n = _mm512_roundscale_ps(x, 0), f = _mm512_sub_ps(x, n);
  // The series of e^(f ln 2).
  Floats y = _mm512_fmadd_ps(f, all(1.3333558e-3f), all(9.6181291e-3f));
  y = _mm512_fmadd_ps(y, f, all(5.5504109e-2f));
  y = _mm512_fmadd_ps(y, f, all(2.4022651e-1f));
  y = _mm512_fmadd_ps(y, f, all(6.9314718e-1f));
  return _mm512_maskz_scalef_ps(counts, _mm512_fmadd_ps(y, f, all(1.0f)), n);
}

WITHIN_TILES Floats exponential(Floats x) { return power_of_two(_mm512_mul_ps(x, all(1.44269504f))); }

// Φ(x), the standard normal distribution, and e^(-x²/2), of which it makes use: Abramowitz and Stegun,
// Handbook of Mathematical Functions, 26.2.17 by 7.1.26, within 4e-6.
struct Normal {
  Floats below, bell;
};

WITHIN_TILES Normal normal(Floats x) {
  const Floats bell = power_of_two(_mm512_mul_ps(_mm512_mul_ps(x, x), all(-0.72134752f)));
  const Floats of = _mm512_fmadd_ps(_mm512_abs_ps(x), all(0.3275911f * 0.70710678f), all(1.0f));
  // 1 / of, by one step of Newton's.
  const Floats near = _mm512_rcp14_ps(of);
  const Floats t = _mm512_mul_ps(near, _mm512_fnmadd_ps(near, of, all(2.0f)));
  Floats y = _mm512_fmadd_ps(t, all(0.5f * 1.061405429f), all(0.5f * -1.453152027f));
  y = _mm512_fmadd_ps(y, t, all(0.5f * 1.421413741f));
  y = _mm512_fmadd_ps(y, t, all(0.5f * -0.284496736f));
  y = _mm512_fmadd_ps(y, t, all(0.5f * 0.254829592f));
  const Floats tail = _mm512_mul_ps(_mm512_mul_ps(y, t), bell);
  const __mmask16 negative = _mm512_cmp_ps_mask(x, all(0.0f), _CMP_LT_OQ);
  return {_mm512_mask_sub_ps(tail, _knot_mask16(negative), all(1.0f), tail), bell};
}

// By what 16 values are multiplied, 0 where dropped: those of four words of the mask.
WITHIN_TILES Floats factors(Key key, int64_t at) {
  alignas(32) uint64_t words[TILE / 4];
  for (int64_t i = 0; i < TILE / 4; i++) words[i] = splitmix(key.seed, at / 4 + i);
  const __m256i drawn = _mm256_load_si256(reinterpret_cast<const __m256i*>(words));
  const __m256i threshold = _mm256_set1_epi16(static_cast<int16_t>(key.threshold));
  const __mmask16 kept = _mm256_cmpge_epu16_mask(drawn, threshold);
  return _mm512_maskz_mov_ps(kept, all(static_cast<float>(1.0 / key.keep())));
}

// Two columns' values in 16 rows.
WITHIN_TILES __m512i two_columns(const Narrow* from, int64_t step) {
  const __m512i numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i places = _mm512_mullo_epi32(numbers, _mm512_set1_epi32(static_cast<int>(step * sizeof(Narrow))));
  return _mm512_i32gather_epi32(places, from, 1);
}

// The transpose of (rows, width), the former a multiple of TILE, `step` values from one of its rows to the
// next.
WITHIN_TILES void turn(const Narrow* from, int64_t rows, int64_t width, Narrow* to, int64_t step) {
  for (int64_t j = 0; j < width; j += 2) {
    for (int64_t i = 0; i < rows; i += TILE) {
      const __m512i both = two_columns(from + i * width + j, width);
      _mm256_storeu_si256((__m256i*)(to + j * step + i), _mm512_cvtepi32_epi16(both));
      _mm256_storeu_si256((__m256i*)(to + (j + 1) * step + i), _mm512_cvtepi32_epi16(_mm512_srli_epi32(both, 16)));
    }
  }
}
