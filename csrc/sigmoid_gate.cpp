// Activations by a sigmoid, with what they gate, in one pass each way: libtorch's
// tanh alone takes longer, and it keeps what is multiplied.
#include "kernels.h"
#include "tiles/tiles.h"
#include "vectors.h"

namespace {

// sigmoid(x), and 1 less that, neither as a difference.
struct Sigmoid {
  Half value, rest;
};

WITHIN Sigmoid sigmoid(Half x) {
  const Half power = bounded_exponential(x < 0.0f ? x : -x);
  const Half large = 1.0f / (1.0f + power), small = power * large;
  return {x < 0.0f ? small : large, x < 0.0f ? large : small};
}

WITHIN Sigmoid sigmoid_of(const SigmoidGate& gate, Half x) { return sigmoid(x * (gate.linear + gate.cubic * x * x)); }

template <typename T>
WITHIN void forward(const GateForward<T>& call, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; at += HALF) {
    const Half x = widened(call.x + at, end - at);
    Half y = x * sigmoid_of(call.gate, x).value;
    if (call.gated) y *= widened(call.gated + at, end - at);
    put(call.y + at, y, end - at);
  }
}

template <typename T>
WITHIN void backward(const GateBackward<T>& call, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; at += HALF) {
    const Half x = widened(call.x + at, end - at);
    Half gradient = widened(call.gradient + at, end - at);
    const Sigmoid there = sigmoid_of(call.gate, x);
    if (call.of_gated) put(call.of_gated + at, gradient * x * there.value, end - at);
    if (!call.of_x) continue;
    if (call.gated) gradient *= widened(call.gated + at, end - at);
    const Half slope = x * (call.gate.linear + 3.0f * call.gate.cubic * x * x);
    put(call.of_x + at, gradient * (there.value + there.value * there.rest * slope), end - at);
  }
}

FOR_EACH_CPU void forward_floats(const GateForward<float>& call, int64_t begin, int64_t end) {
  forward(call, begin, end);
}
FOR_EACH_CPU void forward_bfloat16(const GateForward<c10::BFloat16>& call, int64_t begin, int64_t end) {
  forward(call, begin, end);
}
FOR_EACH_CPU void backward_floats(const GateBackward<float>& call, int64_t begin, int64_t end) {
  backward(call, begin, end);
}
FOR_EACH_CPU void backward_bfloat16(const GateBackward<c10::BFloat16>& call, int64_t begin, int64_t end) {
  backward(call, begin, end);
}

}  // namespace

void gate_forward(const GateForward<float>& call, int64_t begin, int64_t end) { forward_floats(call, begin, end); }
void gate_forward(const GateForward<c10::BFloat16>& call, int64_t begin, int64_t end) {
  has_tiles() ? narrow_gate_forward(call, begin, end) : forward_bfloat16(call, begin, end);
}
void gate_backward(const GateBackward<float>& call, int64_t begin, int64_t end) { backward_floats(call, begin, end); }
void gate_backward(const GateBackward<c10::BFloat16>& call, int64_t begin, int64_t end) {
  has_tiles() ? narrow_gate_backward(call, begin, end) : backward_bfloat16(call, begin, end);
}
