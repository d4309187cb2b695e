// A weight in the order that tiles are loaded in: by panels of outputs, in each by blocks of inputs, in each two
// tiles, pairs of inputs by outputs.
#include "tiles.h"

#ifdef HAS_TILE_INSTRUCTIONS
#include "vectors.h"

namespace {

// 16 values side by side.
WITHIN_TILES Floats scaled(const Packing& weight, const float* from, __mmask16 mask) {
  return _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, from), all(weight.scale));
}

// Rounded, each in the lower half of 32 bits.
WITHIN_TILES __m512i rounded(Floats values) { return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(values)); }

// A tile of a weight whose outputs are side by side: pair by pair of inputs.
WITHIN_TILES void pack_pairs(const Packing& weight, int64_t output, int64_t input, Narrow* to) {
  const __mmask16 outputs = first(weight.outputs - output);
  for (int64_t at = input; at < input + TILE_INPUTS; at += 2, to += 2 * TILE) {
    const float* from = weight.at + at * weight.input + output;
    const __m512i upper = rounded(scaled(weight, from, at < weight.inputs ? outputs : 0));
    const __m512i lower = rounded(scaled(weight, from + weight.input, at + 1 < weight.inputs ? outputs : 0));
    _mm512_storeu_si512(to, _mm512_or_si512(upper, _mm512_slli_epi32(lower, 16)));
  }
}

// A tile of a weight whose inputs are side by side: output by output, whose pairs lie a row of the tile apart.
WITHIN_TILES void pack_outputs(const Packing& weight, int64_t output, int64_t input, Narrow* to) {
  const __m512i rows = _mm512_slli_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 4);
  const __mmask16 some = first(weight.inputs - input), others = first(weight.inputs - input - TILE);
  for (int64_t at = output; at < output + TILE; at++, to += 2) {
    const bool is_there = at < weight.outputs;
    const float* from = weight.at + at * weight.output + input;
    const Floats values = scaled(weight, from, is_there ? some : 0);
    const Floats more = scaled(weight, from + TILE, is_there ? others : 0);
    _mm512_i32scatter_epi32(to, rows, (__m512i)_mm512_cvtne2ps_pbh(more, values), sizeof(int32_t));
  }
}

}  // namespace

WITH_TILES void pack_weight(const Packing& call, int64_t begin, int64_t end) {
  Narrow* to = call.to + begin * packed_size(PANEL, call.inputs);
  for (int64_t panel = begin * PANEL; panel < end * PANEL; panel += PANEL) {
    for (int64_t input = 0; input < call.inputs; input += TILE_INPUTS) {
      for (int64_t output = panel; output < panel + PANEL; output += TILE, to += TILE * TILE_INPUTS) {
        if (call.input == 1) {
          pack_outputs(call, output, input, to);
        } else {
          pack_pairs(call, output, input, to);
        }
      }
    }
  }
}

#else

void pack_weight(const Packing&, int64_t, int64_t) {}

#endif
