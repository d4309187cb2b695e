// Self-attention in bfloat16 by tiles, with dropout of its probabilities, which are float32 until they are
// multiplied by values. Shapes, masks and what is kept are those of ../kernels.h.
#pragma once
#include "../kernels.h"
#include "tiles.h"

// Sizes are filled up with zeros to this.
constexpr int64_t filled(int64_t size) { return (size + PANEL - 1) / PANEL * PANEL; }

// Probabilities, before any is dropped, are (rows * heads, queries, filled(tokens)).
struct NarrowAttention {
  Shape shape;
  Key key;
  Heads<const Narrow> query, key_of, value;
  const float* bias;
  Narrow* probabilities;
  Heads<Narrow> context;
};

struct NarrowAttentionBackward {
  Shape shape;
  Key key;
  Heads<const Narrow> query, key_of, value, gradient;
  const Narrow* probabilities;
  // Null where nobody asks.
  Heads<Narrow> of_query, of_key, of_value;
};

// Heads `begin` to `end` of all rows' heads: what one thread does.
void narrow_attention(const NarrowAttention& call, int64_t begin, int64_t end);
void narrow_attention_backward(const NarrowAttentionBackward& call, int64_t begin, int64_t end);
