// Attention's scores as a GPU makes probabilities of them. Read by C++ compilers and by NVRTC.
#pragma once

// The scores of (rows, heads, queries, tokens), contiguous; a row here is one query's.
struct ScoreRows {
  int64_t heads, queries, tokens;
  // Added to the scaled scores of each key, (rows, tokens), or null.
  const float* bias;
  Key key;
  // What scores are multiplied by before all else, and what probabilities are that are kept.
  float scale, kept;
  // Whether a query sees the keys up to its own place alone; the last query is at the last key.
  int32_t causal;
};
