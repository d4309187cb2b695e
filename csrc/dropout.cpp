// Dropout whose mask is a function of a key and a position, so that it needs no generator that
// threads share, and no mask that backward would have to keep: it is drawn once more.
#include <algorithm>
#include <cstring>

#include "kernels.h"

namespace {

// 16 bits for a value, from a word for four.
constexpr int64_t CHUNK = DROPOUT_CHUNK;

// `begin` is a multiple of CHUNK; values are multiplied as `Wide`, and take the place of y or are added to it.
template <typename T, typename Wide = float, bool ADDS = false>
WITHIN void drop_values(const T* x, T* y, int64_t begin, int64_t end, Key key) {
  const Wide scale = static_cast<Wide>(1.0 / key.keep());
  const uint16_t threshold = static_cast<uint16_t>(key.threshold);
  for (int64_t at = begin; at < end; at += CHUNK) {
    uint64_t words[CHUNK / 4];
    uint16_t draws[CHUNK];
    for (int64_t i = 0; i < CHUNK / 4; i++) words[i] = splitmix(key.seed, at / 4 + i);
    std::memcpy(draws, words, sizeof draws);
    const int64_t count = std::min(CHUNK, end - at);
    for (int64_t i = 0; i < count; i++) {
      const Wide kept = draws[i] < threshold ? 0 : scale;
      const Wide value = static_cast<Wide>(x[at + i]) * kept;
      y[at + i] = ADDS ? static_cast<T>(y[at + i] + value) : static_cast<T>(value);
    }
  }
}

FOR_EACH_CPU void drop_float(const float* x, float* y, int64_t begin, int64_t end, Key key) {
  drop_values(x, y, begin, end, key);
}
FOR_EACH_CPU void add_dropped_float(const float* x, float* y, int64_t begin, int64_t end, Key key) {
  drop_values<float, float, true>(x, y, begin, end, key);
}
FOR_EACH_CPU void drop_double(const double* x, double* y, int64_t begin, int64_t end, Key key) {
  drop_values<double, double>(x, y, begin, end, key);
}
FOR_EACH_CPU void drop_bfloat16(const c10::BFloat16* x, c10::BFloat16* y, int64_t begin, int64_t end, Key key) {
  drop_values(x, y, begin, end, key);
}
FOR_EACH_CPU void drop_half(const c10::Half* x, c10::Half* y, int64_t begin, int64_t end, Key key) {
  drop_values(x, y, begin, end, key);
}

}  // namespace

void drop(const float* x, float* y, int64_t begin, int64_t end, Key key) { drop_float(x, y, begin, end, key); }
void drop(const double* x, double* y, int64_t begin, int64_t end, Key key) { drop_double(x, y, begin, end, key); }
void drop(const c10::BFloat16* x, c10::BFloat16* y, int64_t begin, int64_t end, Key key) {
  drop_bfloat16(x, y, begin, end, key);
}
void drop(const c10::Half* x, c10::Half* y, int64_t begin, int64_t end, Key key) { drop_half(x, y, begin, end, key); }
void add_dropped(const float* x, float* y, int64_t begin, int64_t end, Key key) {
  add_dropped_float(x, y, begin, end, key);
}
