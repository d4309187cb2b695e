// Division by the root mean square in one pass each way, with its weight: libtorch takes several, in float32.
#include <cmath>

#include "kernels.h"
#include "vectors.h"

namespace {

// The gradient by normed values.
template <typename V, typename Out>
WITHIN V by_normed(const Out* gradient, const float* weight, float offset) {
  return widened<V>(gradient) * (load<V>(weight) + offset);
}

template <typename V, typename In, typename Out>
WITHIN void forward_row(const RmsNormForward<In, Out>& call, int64_t row) {
  const In* x = call.x + row * call.width;
  Out* y = call.y + row * call.width;
  Lanes<V> sums = {};
  for (int64_t at = 0; at < call.width; at += LANES) {
    for (int64_t part = 0; part < PARTS<V>; part++) {
      const V value = widened<V>(x + at + part * COUNT<V>);
      sums.part[part] += value * value;
    }
  }
  const float inverse = 1.0f / std::sqrt(total(sums) / static_cast<float>(call.width) + call.eps);
  call.inverse[row] = inverse;
  for (int64_t at = 0; at < call.width; at += COUNT<V>) {
    put<V>(y + at, widened<V>(x + at) * inverse * (load<V>(call.weight + at) + call.offset));
  }
}

template <typename V, typename In, typename Out>
WITHIN void backward_row(const RmsNormBackward<In, Out>& call, int64_t row) {
  const In* x = call.x + row * call.width;
  const Out* gradient = call.gradient + row * call.width;
  In* found = call.of_x + row * call.width;
  const float inverse = call.inverse[row], *weight = call.weight;
  Lanes<V> sums = {};
  for (int64_t begin = 0; begin < call.width; begin += LANES) {
    for (int64_t part = 0; part < PARTS<V>; part++) {
      const int64_t at = begin + part * COUNT<V>;
      sums.part[part] += by_normed<V>(gradient + at, weight + at, call.offset) * widened<V>(x + at);
    }
  }
  // The gradient along x, which the norm takes away.
  const float along = total(sums) / static_cast<float>(call.width) * inverse * inverse;
  for (int64_t at = 0; at < call.width; at += COUNT<V>) {
    const V across = by_normed<V>(gradient + at, weight + at, call.offset) - widened<V>(x + at) * along;
    put<V>(found + at, across * inverse);
  }
}

template <typename V, typename In, typename Out>
WITHIN void forward(const RmsNormForward<In, Out>& call, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) forward_row<V>(call, row);
}

template <typename V, typename In, typename Out>
WITHIN void backward(const RmsNormBackward<In, Out>& call, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) backward_row<V>(call, row);
}

}  // namespace

KERNEL(rms_norm, forward, RmsNormForward<float, float>)
KERNEL(rms_norm, forward, RmsNormForward<float, c10::BFloat16>)
KERNEL(rms_norm, forward, RmsNormForward<c10::BFloat16, c10::BFloat16>)
KERNEL(rms_norm_backward, backward, RmsNormBackward<float, float>)
KERNEL(rms_norm_backward, backward, RmsNormBackward<float, c10::BFloat16>)
KERNEL(rms_norm_backward, backward, RmsNormBackward<c10::BFloat16, c10::BFloat16>)
