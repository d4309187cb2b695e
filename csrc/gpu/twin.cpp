// The arithmetic of the GPU's kernels, compiled for the CPU: for tests, which compare the two.
#include <algorithm>
#include <cmath>
#include <cstring>

#include <c10/util/Half.h>

#include "launch.h"

namespace {

WITHIN uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
WITHIN float float_of_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
WITHIN float float_of_half(uint16_t bits) { return c10::Half(bits, c10::Half::from_bits()); }
WITHIN uint16_t half_of(float x) { return c10::Half(x).x; }

WITHIN float exponential(float x) { return std::exp(x); }
WITHIN float larger(float x, float y) { return std::max(x, y); }

#include "drop_word.h"
#include "score_row.h"

// A group of one thread, which has whole rows.
struct Alone {
  int64_t size = 1, place = 0;
  float sum(float x) const { return x; }
  float largest(float x) const { return x; }
};

template <typename T>
void drop_rows(const ScoreRows& all, int64_t rows, const void* scores, const void* gradient, void* dropped,
               void* by_scores) {
  std::vector<float> found(2 * rows);
  for (int64_t row = 0; row < rows; row++) {
    drop_row(all, Alone(), row, static_cast<const T*>(scores), static_cast<T*>(dropped), found.data());
    drop_row_back(all, Alone(), row, static_cast<const T*>(scores), found.data(), static_cast<const T*>(gradient),
                  static_cast<T*>(by_scores));
  }
}

template <typename T, typename Wide>
void drop_words(const void* x, void* y, int64_t count, Key key) {
  const Wide scale = static_cast<Wide>(1.0 / key.keep());
  for (int64_t word = 0; 4 * word < count; word++) {
    drop_word<T, Wide>(static_cast<const T*>(x), static_cast<T*>(y), word, count, key, scale);
  }
}

}  // namespace

// `number` as Number has them.
extern "C" void regatta_drop_by_words(int number, const void* x, void* y, int64_t count, uint64_t seed,
                                      uint32_t threshold) {
  const Key key = {seed, threshold};
  switch (static_cast<Number>(number)) {
    case Number::Float: return drop_words<float, float>(x, y, count, key);
    case Number::Double: return drop_words<double, double>(x, y, count, key);
    case Number::Bfloat16: return drop_words<Bfloat16, float>(x, y, count, key);
    case Number::Half: return drop_words<Float16, float>(x, y, count, key);
  }
}

// The probabilities of scores, with some of them dropped, and their gradient.
extern "C" void regatta_drop_rows(int number, const ScoreRows* all, int64_t rows, const void* scores,
                                  const void* gradient, void* dropped, void* by_scores) {
  switch (static_cast<Number>(number)) {
    case Number::Float: return drop_rows<float>(*all, rows, scores, gradient, dropped, by_scores);
    case Number::Bfloat16: return drop_rows<Bfloat16>(*all, rows, scores, gradient, dropped, by_scores);
    case Number::Half: return drop_rows<Float16>(*all, rows, scores, gradient, dropped, by_scores);
    case Number::Double: return;
  }
}

// Bytes of the kernels, compiled for an architecture by the NVRTC at `library`, or by the one that is
// found with an empty name; 0 without one, and -1 with a reason where they do not compile.
extern "C" int64_t regatta_compile_kernels(const char* library, const char* architecture, char* reason, size_t room) {
  std::vector<char> image;
  std::string wrong;
  if (!compile_kernels(library, architecture, image, wrong)) return 0;
  const size_t length = std::min(wrong.size(), room - 1);
  std::memcpy(reason, wrong.data(), length);
  reason[length] = '\0';
  return wrong.empty() ? static_cast<int64_t>(image.size()) : -1;
}
