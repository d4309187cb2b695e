// Rotary position embedding in one pass, where libtorch's operations are five, with float32 between them.
#include "kernels.h"
#include "vectors.h"

namespace {

template <typename T>
WITHIN void rotate_token(const Rotation<T>& call, int64_t index) {
  const int64_t half = call.width / 2, position = index % call.positions * call.width;
  const float sign = call.back ? -1.0f : 1.0f;
  for (int64_t head = 0; head < call.heads; head++) {
    const T* x = call.x + index / call.tokens * call.row + index % call.tokens * call.token + head * call.head;
    T* y = call.y + (index * call.heads + head) * call.width;
    for (int64_t at = 0; at < half; at += COUNT<Half>) {
      const Half cos = load<Half>(call.cos + position + at), sin = load<Half>(call.sin + position + at) * sign;
      const Half first = widened<Half>(x + at), second = widened<Half>(x + half + at);
      put<Half>(y + at, first * cos - second * sin);
      put<Half>(y + half + at, second * cos + first * sin);
    }
  }
}

FOR_EACH_CPU void rotate_floats(const Rotation<float>& call, int64_t begin, int64_t end) {
  for (int64_t index = begin; index < end; index++) rotate_token(call, index);
}

FOR_EACH_CPU void rotate_bfloat16(const Rotation<c10::BFloat16>& call, int64_t begin, int64_t end) {
  for (int64_t index = begin; index < end; index++) rotate_token(call, index);
}

}  // namespace

void rotate(const Rotation<float>& call, int64_t begin, int64_t end) { rotate_floats(call, begin, end); }

void rotate(const Rotation<c10::BFloat16>& call, int64_t begin, int64_t end) { rotate_bfloat16(call, begin, end); }
