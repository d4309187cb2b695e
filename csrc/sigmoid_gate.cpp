// Activations by a sigmoid, with what they gate, in one pass each way: libtorch's
// tanh alone takes longer, and it keeps what is multiplied.
#include "kernels.h"
#include "tiles/tiles.h"
#include "vectors.h"

namespace {

// sigmoid(x), and 1 less that, neither as a difference.
template <typename V>
struct Sigmoid {
  V value, rest;
};

template <typename V>
WITHIN Sigmoid<V> sigmoid(V x) {
  const V power = bounded_exponential<V>(x < 0.0f ? x : -x);
  const V large = 1.0f / (1.0f + power), small = power * large;
  return {x < 0.0f ? small : large, x < 0.0f ? large : small};
}

template <typename V>
WITHIN Sigmoid<V> sigmoid_of(const SigmoidGate& gate, V x) {
  return sigmoid<V>(x * (gate.linear + gate.cubic * x * x));
}

template <typename V, typename T>
WITHIN void forward(const GateForward<T>& call, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; at += COUNT<V>) {
    const V x = widened<V>(call.x + at, end - at);
    V y = x * sigmoid_of(call.gate, x).value;
    if (call.gated) y *= widened<V>(call.gated + at, end - at);
    put(call.y + at, y, end - at);
  }
}

template <typename V, typename T>
WITHIN void backward(const GateBackward<T>& call, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; at += COUNT<V>) {
    const V x = widened<V>(call.x + at, end - at);
    V gradient = widened<V>(call.gradient + at, end - at);
    const Sigmoid<V> there = sigmoid_of(call.gate, x);
    if (call.of_gated) put<V>(call.of_gated + at, gradient * x * there.value, end - at);
    if (!call.of_x) continue;
    if (call.gated) gradient *= widened<V>(call.gated + at, end - at);
    const V slope = x * (call.gate.linear + 3.0f * call.gate.cubic * x * x);
    put<V>(call.of_x + at, gradient * (there.value + there.value * there.rest * slope), end - at);
  }
}

KERNEL(forward_bfloat16, forward, GateForward<c10::BFloat16>)
KERNEL(backward_bfloat16, backward, GateBackward<c10::BFloat16>)

}  // namespace

KERNEL(gate_forward, forward, GateForward<float>)
KERNEL(gate_backward, backward, GateBackward<float>)

void gate_forward(const GateForward<c10::BFloat16>& call, int64_t begin, int64_t end) {
  has_tiles() ? narrow_gate_forward(call, begin, end) : forward_bfloat16(call, begin, end);
}
void gate_backward(const GateBackward<c10::BFloat16>& call, int64_t begin, int64_t end) {
  has_tiles() ? narrow_gate_backward(call, begin, end) : backward_bfloat16(call, begin, end);
}
