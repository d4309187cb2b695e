// Self-attention in bfloat16 by tiles, with dropout of its probabilities, which are float32 until they are
// multiplied by values. Shapes, masks and what is kept are those of ../kernels.h.
#pragma once
#include "../kernels.h"
#include "tiles.h"

// Probabilities are (rows * heads, queries, filled(tokens)).
void attention_forward(const AttentionForward<Narrow>& call, int64_t begin, int64_t end);
void attention_backward(const AttentionBackward<Narrow>& call, int64_t begin, int64_t end);
