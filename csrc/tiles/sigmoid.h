// The sigmoid of activations by it, with no more digits than bfloat16 tells apart.
#pragma once
#include "vectors.h"

// sigmoid(x), and 1 less that, neither as a difference.
struct Sigmoid {
  Floats value, rest;
};

WITHIN_TILES Sigmoid sigmoid(Floats x) {
  const Floats power = power_of_two(_mm512_mul_ps(_mm512_abs_ps(x), all(-1.44269504f)));
  const Floats large = _mm512_rcp14_ps(_mm512_add_ps(all(1.0f), power)), small = _mm512_mul_ps(power, large);
  const __mmask16 negative = _mm512_cmp_ps_mask(x, all(0.0f), _CMP_LT_OQ);
  return {_mm512_mask_blend_ps(negative, large, small), _mm512_mask_blend_ps(negative, small, large)};
}

// linear + times cubic x^2
WITHIN_TILES Floats polynomial(const SigmoidGate& gate, Floats x, float times) {
  return _mm512_fmadd_ps(_mm512_mul_ps(x, x), all(times * gate.cubic), all(gate.linear));
}

WITHIN_TILES Sigmoid sigmoid_of(const SigmoidGate& gate, Floats x) {
  return sigmoid(_mm512_mul_ps(x, polynomial(gate, x, 1.0f)));
}
