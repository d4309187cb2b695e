// The kernels of our own for CPUs. They know nothing of libtorch, whose headers take a compiler longer
// to read than all of this: `libtorch.cpp` brings both together.
#pragma once
#include <cmath>
#include <cstdint>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "keyed.h"

// Values in a vector of the attention kernel: a head's width is a multiple of it.
constexpr int64_t ATTENTION_LANES = 16;

// Tokens as the kernel keeps them: as many as whole vectors hold.
constexpr int64_t padded(int64_t tokens) {
  return (tokens + ATTENTION_LANES - 1) / ATTENTION_LANES * ATTENTION_LANES;
}

// A matrix in memory: the element of row i and column j is at[i * row + j * column].
template <typename T>
struct Matrix {
  T* at;
  int64_t row;
  int64_t column = 1;
  Matrix<T> transposed() const { return {at, column, row}; }
  Matrix<T> from(int64_t i, int64_t j = 0) const { return {at + i * row + j * column, row, column}; }
};

// Sizes of a call: `queries` and `tokens` keys and values in each row, in heads of `width`. With
// `causal` the last query is at the last key, and each sees those up to its own place.
struct Shape {
  int64_t rows, heads, width, queries, tokens;
  bool causal;
  // Query heads side by side that share a head of keys and values.
  int64_t groups = 1;
  // Keys that a query sees.
  int64_t visible(int64_t query) const { return causal ? tokens - queries + query + 1 : tokens; }
  // The first query that sees a key.
  int64_t viewer(int64_t key) const { return causal ? (key > tokens - queries ? key - (tokens - queries) : 0) : 0; }
  int64_t hidden() const { return heads * width; }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(width)); }
};

// A tensor of (rows, tokens, hidden) with contiguous hidden values.
template <typename T>
struct Heads {
  T* at;
  int64_t row, token;
  Matrix<T> of(int64_t index, const Shape& shape) const {
    return {at + index / shape.heads * row + index % shape.heads * shape.width, token};
  }
  // Of keys or values, the head that this head shares.
  Matrix<T> shared_by(int64_t index, const Shape& shape) const {
    const int64_t shared = index / shape.groups, heads = shape.heads / shape.groups;
    return {at + shared / heads * row + shared % heads * shape.width, token};
  }
};

// One call of attention on numbers of a kind, forward: probabilities, before any is dropped, are
// (rows * heads, queries, tokens as its kernel keeps them), which is padded(tokens) in float32.
template <typename T>
struct AttentionForward {
  Shape shape;
  Key key;
  Heads<const T> query, key_of, value;
  const float* bias;
  T* probabilities;
  Heads<T> context;
};

// The same backward.
template <typename T>
struct AttentionBackward {
  Shape shape;
  Key key;
  Heads<const T> query, key_of, value, gradient;
  const T* probabilities;
  // Null where nobody asks.
  Heads<T> of_query, of_key, of_value;
};

// Heads `begin` to `end` of all rows' heads, backward of those of keys: what one thread does.
void attention_forward(const AttentionForward<float>& call, int64_t begin, int64_t end);
void attention_backward(const AttentionBackward<float>& call, int64_t begin, int64_t end);

// Keys and values of one token after another, of all heads each.
template <typename T>
struct Tokens {
  const T *key, *value;
  // From a token to the next.
  int64_t key_step, value_step;
};

// A text that goes on: the prompt that it began with, and its rows in the steps after it.
template <typename T>
struct Text {
  Tokens<T> prompt;
  int64_t prompt_tokens;
  const int64_t* rows;
};

// Attention of one more token of each text to the last `window` of its tokens, itself among them.
// `steps` have the tokens of all texts that were there, by row; query heads side by side share a key
// head. Products are multiplied by `scale`; scores s become softcap * tanh(s / softcap) unless it is 0.
template <typename T>
struct NextAttention {
  int64_t heads, key_heads, width, step_count, window;
  float scale, softcap;
  const Text<T>* texts;
  const Tokens<T>* steps;
  // (texts, heads * width), `query_row` apart
  const T* query;
  int64_t query_row;
  T* context;
  int64_t hidden() const { return heads * width; }
};

// Texts `begin` to `end`: what one thread does.
void attention_of_next(const NextAttention<float>& call, int64_t begin, int64_t end);
void attention_of_next(const NextAttention<c10::BFloat16>& call, int64_t begin, int64_t end);

// The cross-entropy of tokens, (rows), under logits, (rows, vocabulary).
template <typename T>
struct CrossEntropy {
  // `step` values from a row to the next.
  int64_t vocabulary, step;
  // Capped, if they are; then, if it is wanted, the gradient by them before they were:
  // (p(v) - (1 - smoothing) [v is the token] - smoothing / vocabulary) (1 - (logit / cap)^2).
  T* logits;
  bool with_gradient;
  const int64_t* tokens;
  // 0 without a cap.
  float cap;
  float smoothing;
  // Each token's log-probability; the sum of all log-probabilities of its row, or null.
  float *own, *all;
};

// Rows `begin` to `end`: what one thread does.
void cross_entropy(const CrossEntropy<float>& call, int64_t begin, int64_t end);
void cross_entropy(const CrossEntropy<c10::BFloat16>& call, int64_t begin, int64_t end);

// The likeliest tokens under logits, (rows, vocabulary): the largest first, of equals the first. Where
// fewer have any probability, the rest are token 0 with none.
template <typename T>
struct Likeliest {
  // `step` values from a row to the next.
  int64_t vocabulary, step;
  const T* logits;
  // At least 1, at most the vocabulary.
  int64_t width;
  // (rows, width) each
  int64_t* tokens;
  double* log_probabilities;
};

// Rows `begin` to `end`: what one thread does.
void likeliest(const Likeliest<float>& call, int64_t begin, int64_t end);
void likeliest(const Likeliest<c10::BFloat16>& call, int64_t begin, int64_t end);

// Activations that are their input times a sigmoid of it: y = x sigmoid(linear x + cubic x^3), times what
// is gated, if anything is.
struct SigmoidGate {
  float linear, cubic;
};

template <typename T>
struct GateForward {
  SigmoidGate gate;
  // `gated` may be null.
  const T *x, *gated;
  T* y;
};

template <typename T>
struct GateBackward {
  SigmoidGate gate;
  const T *x, *gated, *gradient;
  // Null where nobody asks.
  T *of_x, *of_gated;
};

// Values `begin` to `end`: what one thread does.
void gate_forward(const GateForward<float>& call, int64_t begin, int64_t end);
void gate_forward(const GateForward<c10::BFloat16>& call, int64_t begin, int64_t end);
void gate_backward(const GateBackward<float>& call, int64_t begin, int64_t end);
void gate_backward(const GateBackward<c10::BFloat16>& call, int64_t begin, int64_t end);

// Division by the root mean square: y = x inverse (weight + offset), of rows of `width`, a multiple of
// ATTENTION_LANES, where inverse is a row's 1 / sqrt(mean(x^2) + eps).
template <typename In, typename Out>
struct RmsNormForward {
  int64_t width;
  float eps, offset;
  const float* weight;
  const In* x;
  Out* y;
  // A row each, for the way back.
  float* inverse;
};

template <typename In, typename Out>
struct RmsNormBackward {
  int64_t width;
  float offset;
  const float* weight;
  const In* x;
  const float* inverse;
  const Out* gradient;
  In* of_x;
};

// Rows `begin` to `end`: what one thread does.
void rms_norm(const RmsNormForward<float, float>& call, int64_t begin, int64_t end);
void rms_norm(const RmsNormForward<float, c10::BFloat16>& call, int64_t begin, int64_t end);
void rms_norm(const RmsNormForward<c10::BFloat16, c10::BFloat16>& call, int64_t begin, int64_t end);
void rms_norm_backward(const RmsNormBackward<float, float>& call, int64_t begin, int64_t end);
void rms_norm_backward(const RmsNormBackward<float, c10::BFloat16>& call, int64_t begin, int64_t end);
void rms_norm_backward(const RmsNormBackward<c10::BFloat16, c10::BFloat16>& call, int64_t begin, int64_t end);

// y = norm(drop(x) + residual), with a mask over all of x, which is what dropout.cpp draws: x is one batch
// of those that may lie side by side. Rows of `width`, a multiple of ATTENTION_LANES, are contiguous;
// nothing is dropped where the threshold is 0. The residual, and the sum where somebody asks for it, may be
// wider than what is added.
template <typename T, typename R = T>
struct ResidualNorm {
  int64_t width;
  Key key;
  const T* x;
  const R* residual;
  // In float32; `bias` may be null.
  const float *weight, *bias;
  float eps;
  // May be null.
  R* sum;
  T* y;
  // For the backward pass: normalised values, and each row's inverse deviation.
  T* normed;
  float* inverse;
};

template <typename T, typename R = T>
struct ResidualNormBackward {
  int64_t width;
  Key key;
  const float* weight;
  const T* normed;
  const float* inverse;
  const T* gradient;
  // By the sum, of all but the norm; may be null.
  const R* gradient_of_sum;
  // Null where nobody asks.
  T* of_x;
  R* of_residual;
};

// Rows `begin` to `end`: what one thread does.
void residual_norm(const ResidualNorm<float>& call, int64_t begin, int64_t end);
void residual_norm_backward(const ResidualNormBackward<float>& call, int64_t begin, int64_t end);

// Rotary position embedding: a head's values in pairs, one of each half, turned by angles. Heads may lie
// anywhere, the values of each side by side; y is (rows, tokens, heads, width).
template <typename T>
struct Rotation {
  // The width is a multiple of ATTENTION_LANES.
  int64_t tokens, heads, width;
  const T* x;
  // From a row, a token and a head to the next.
  int64_t row, token, head;
  // (positions, width), halves alike; the positions are those of a row's tokens, or of all rows'.
  const float *cos, *sin;
  int64_t positions;
  // Turned the other way, as gradients are.
  bool back;
  T* y;
};

// Tokens `begin` to `end` of all rows': what one thread does.
void rotate(const Rotation<float>& call, int64_t begin, int64_t end);
void rotate(const Rotation<c10::BFloat16>& call, int64_t begin, int64_t end);

// Values whose bits are drawn at a time; threads share values out in pieces of this.
constexpr int64_t DROPOUT_CHUNK = 256;

// Values `begin` to `end`, dropped or scaled; `begin` is a multiple of DROPOUT_CHUNK.
void drop(const float* x, float* y, int64_t begin, int64_t end, Key key);
void drop(const double* x, double* y, int64_t begin, int64_t end, Key key);
void drop(const c10::BFloat16* x, c10::BFloat16* y, int64_t begin, int64_t end, Key key);
void drop(const c10::Half* x, c10::Half* y, int64_t begin, int64_t end, Key key);

// The same, added to y.
void add_dropped(const float* x, float* y, int64_t begin, int64_t end, Key key);

// How a frozen weight is held: see `src/model/quantised/`, which writes the codes.
enum class Form : int64_t { BFLOAT16 = 0, INT8 = 1, NF4 = 2 };

// Values that share a scale in NF4, side by side in the flattened weight.
constexpr int64_t NF4_BLOCK = 64;
// The values of NF4's codes.
extern const float NF4_VALUES[16];

// A weight of rows of `columns` values. `scales` has one of each row with INT8, one of each block with
// NF4, which has two codes a byte, the first in the upper half.
struct Quantised {
  Form form;
  int64_t columns;
  const void* codes;
  const float* scales;
};

// Values `begin` to `end` of the flattened weight in float32, `begin` at `to`.
void dequantise(const Quantised& weight, float* to, int64_t begin, int64_t end);
