// Division by the root mean square in one pass each way, with its weight: libtorch takes several, in float32.
#include <cmath>

#include "kernels.h"
#include "vectors.h"

namespace {

// The gradient by normed values.
template <typename Out>
WITHIN Half by_normed(const Out* gradient, const float* weight, float offset) {
  return widened(gradient) * (load(weight) + offset);
}

template <typename In, typename Out>
WITHIN void forward_row(const RmsNormForward<In, Out>& call, int64_t row) {
  const In* x = call.x + row * call.width;
  Out* y = call.y + row * call.width;
  Half sums[2] = {};
  for (int64_t at = 0; at < call.width; at += LANES) {
    const Half first = widened(x + at), second = widened(x + at + HALF);
    sums[0] += first * first;
    sums[1] += second * second;
  }
  const float inverse = 1.0f / std::sqrt(total(sums) / static_cast<float>(call.width) + call.eps);
  call.inverse[row] = inverse;
  for (int64_t at = 0; at < call.width; at += HALF) {
    put(y + at, widened(x + at) * inverse * (load(call.weight + at) + call.offset));
  }
}

template <typename In, typename Out>
WITHIN void backward_row(const RmsNormBackward<In, Out>& call, int64_t row) {
  const In* x = call.x + row * call.width;
  const Out* gradient = call.gradient + row * call.width;
  In* found = call.of_x + row * call.width;
  const float inverse = call.inverse[row], *weight = call.weight;
  Half sums[2] = {};
  for (int64_t at = 0; at < call.width; at += LANES) {
    sums[0] += by_normed(gradient + at, weight + at, call.offset) * widened(x + at);
    sums[1] += by_normed(gradient + at + HALF, weight + at + HALF, call.offset) * widened(x + at + HALF);
  }
  // The gradient along x, which the norm takes away.
  const float along = total(sums) / static_cast<float>(call.width) * inverse * inverse;
  for (int64_t at = 0; at < call.width; at += HALF) {
    const Half across = by_normed(gradient + at, weight + at, call.offset) - widened(x + at) * along;
    put(found + at, across * inverse);
  }
}

}  // namespace

#define RMS_NORM(NAME, IN, OUT)                                                                          \
  FOR_EACH_CPU static void NAME##_forward(const RmsNormForward<IN, OUT>& call, int64_t begin, int64_t end) {  \
    for (int64_t row = begin; row < end; row++) forward_row(call, row);                                  \
  }                                                                                                      \
  FOR_EACH_CPU static void NAME##_backward(const RmsNormBackward<IN, OUT>& call, int64_t begin, int64_t end) { \
    for (int64_t row = begin; row < end; row++) backward_row(call, row);                                 \
  }                                                                                                      \
  void rms_norm(const RmsNormForward<IN, OUT>& call, int64_t begin, int64_t end) {                       \
    NAME##_forward(call, begin, end);                                                                    \
  }                                                                                                      \
  void rms_norm_backward(const RmsNormBackward<IN, OUT>& call, int64_t begin, int64_t end) {             \
    NAME##_backward(call, begin, end);                                                                   \
  }

RMS_NORM(floats, float, float)
RMS_NORM(narrowed, float, c10::BFloat16)
RMS_NORM(narrow, c10::BFloat16, c10::BFloat16)
