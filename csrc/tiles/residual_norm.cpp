// Dropout, residual sum and layer norm as residual_norm.cpp has them, of values in bfloat16, with statistics
// and maybe the sum in float32.
#include "tiles.h"

#ifdef HAS_TILE_INSTRUCTIONS
#include "vectors.h"

namespace {

template <typename R>
WITH_TILES void norm_row(const ResidualNorm<Narrow, R>& call, int64_t row, float* sums) {
  const int64_t at = row * call.width;
  Floats total = all(0.0f);
  for (int64_t i = 0; i < call.width; i += TILE) {
    Floats x = widen(call.x + at + i);
    if (call.key.threshold) x = _mm512_mul_ps(x, factors(call.key, at + i));
    x = _mm512_add_ps(x, widen(call.residual + at + i));
    _mm512_storeu_ps(sums + i, x);
    if (call.sum) put(call.sum + at + i, x);
    total = _mm512_add_ps(total, x);
  }
  const float width = static_cast<float>(call.width), mean = _mm512_reduce_add_ps(total) / width;
  Floats squares = all(0.0f);
  for (int64_t i = 0; i < call.width; i += TILE) {
    const Floats far = _mm512_sub_ps(_mm512_loadu_ps(sums + i), all(mean));
    squares = _mm512_fmadd_ps(far, far, squares);
  }
  const float inverse = 1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / width + call.eps);
  for (int64_t i = 0; i < call.width; i += TILE) {
    const Floats normed = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(sums + i), all(mean)), all(inverse));
    const Floats bias = call.bias ? _mm512_loadu_ps(call.bias + i) : all(0.0f);
    put(call.y + at + i, _mm512_fmadd_ps(normed, _mm512_loadu_ps(call.weight + i), bias));
    put(call.normed + at + i, normed);
  }
  call.inverse[row] = inverse;
}

template <typename R>
WITH_TILES void norm_row_backward(const ResidualNormBackward<Narrow, R>& call, int64_t row) {
  const int64_t at = row * call.width;
  Floats sums = all(0.0f), along = all(0.0f);
  for (int64_t i = 0; i < call.width; i += TILE) {
    const Floats gradient = _mm512_mul_ps(widen(call.gradient + at + i), _mm512_loadu_ps(call.weight + i));
    sums = _mm512_add_ps(sums, gradient);
    along = _mm512_fmadd_ps(gradient, widen(call.normed + at + i), along);
  }
  const float width = static_cast<float>(call.width);
  const Floats mean = all(_mm512_reduce_add_ps(sums) / width), slope = all(_mm512_reduce_add_ps(along) / width);
  for (int64_t i = 0; i < call.width; i += TILE) {
    const Floats gradient = _mm512_mul_ps(widen(call.gradient + at + i), _mm512_loadu_ps(call.weight + i));
    const Floats centred = _mm512_fnmadd_ps(widen(call.normed + at + i), slope, _mm512_sub_ps(gradient, mean));
    Floats found = _mm512_mul_ps(centred, all(call.inverse[row]));
    if (call.gradient_of_sum) found = _mm512_add_ps(found, widen(call.gradient_of_sum + at + i));
    if (call.of_residual) put(call.of_residual + at + i, found);
    if (!call.of_x) continue;
    put(call.of_x + at + i, call.key.threshold ? _mm512_mul_ps(found, factors(call.key, at + i)) : found);
  }
}

template <typename R>
WITH_TILES void forward(const ResidualNorm<Narrow, R>& call, int64_t begin, int64_t end) {
  Values<float> sums(call.width);
  for (int64_t row = begin; row < end; row++) norm_row(call, row, sums.data());
}

template <typename R>
WITH_TILES void backward(const ResidualNormBackward<Narrow, R>& call, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) norm_row_backward(call, row);
}

}  // namespace

void residual_norm(const ResidualNorm<Narrow>& call, int64_t begin, int64_t end) { forward(call, begin, end); }
void residual_norm(const ResidualNorm<Narrow, float>& call, int64_t begin, int64_t end) { forward(call, begin, end); }
void residual_norm_backward(const ResidualNormBackward<Narrow>& call, int64_t begin, int64_t end) {
  backward(call, begin, end);
}
void residual_norm_backward(const ResidualNormBackward<Narrow, float>& call, int64_t begin, int64_t end) {
  backward(call, begin, end);
}

#else

void residual_norm(const ResidualNorm<Narrow>&, int64_t, int64_t) {}
void residual_norm(const ResidualNorm<Narrow, float>&, int64_t, int64_t) {}
void residual_norm_backward(const ResidualNormBackward<Narrow>&, int64_t, int64_t) {}
void residual_norm_backward(const ResidualNormBackward<Narrow, float>&, int64_t, int64_t) {}

#endif
