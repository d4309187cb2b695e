// Activations by a sigmoid in bfloat16, as sigmoid_gate.cpp has them, with vectors that every processor with
// tiles has and no more digits than bfloat16 tells apart.
#include "tiles.h"

#ifdef HAS_TILE_INSTRUCTIONS
#include "sigmoid.h"

namespace {

const Narrow* bits(const c10::BFloat16* values) { return reinterpret_cast<const Narrow*>(values); }
Narrow* bits(c10::BFloat16* values) { return reinterpret_cast<Narrow*>(values); }

}  // namespace

WITH_TILES void narrow_gate_forward(const GateForward<c10::BFloat16>& call, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; at += TILE) {
    const __mmask16 mask = first(end - at);
    const Floats x = widen(bits(call.x) + at, mask);
    Floats y = _mm512_mul_ps(x, sigmoid_of(call.gate, x).value);
    if (call.gated) y = _mm512_mul_ps(y, widen(bits(call.gated) + at, mask));
    put(bits(call.y) + at, y, mask);
  }
}

WITH_TILES void narrow_gate_backward(const GateBackward<c10::BFloat16>& call, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; at += TILE) {
    const __mmask16 mask = first(end - at);
    const Floats x = widen(bits(call.x) + at, mask);
    Floats gradient = widen(bits(call.gradient) + at, mask);
    const Sigmoid there = sigmoid_of(call.gate, x);
    if (call.of_gated) {
      put(bits(call.of_gated) + at, _mm512_mul_ps(gradient, _mm512_mul_ps(x, there.value)), mask);
    }
    if (!call.of_x) continue;
    if (call.gated) gradient = _mm512_mul_ps(gradient, widen(bits(call.gated) + at, mask));
    const Floats slope = _mm512_mul_ps(x, polynomial(call.gate, x, 3.0f));
    const Floats factor = _mm512_fmadd_ps(_mm512_mul_ps(there.value, there.rest), slope, there.value);
    put(bits(call.of_x) + at, _mm512_mul_ps(gradient, factor), mask);
  }
}

#else

void narrow_gate_forward(const GateForward<c10::BFloat16>&, int64_t, int64_t) {}
void narrow_gate_backward(const GateBackward<c10::BFloat16>&, int64_t, int64_t) {}

#endif
