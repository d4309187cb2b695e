// Dropout, residual sum and layer norm in one pass over a row, forward and backward: Ba et al., Layer
// Normalization, 2016.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels.h"
#include "vectors.h"

namespace {

// What a thread works in: a row's sums, the bits that are drawn for it, and what its values are multiplied
// by, 0 where they are dropped.
struct Scratch {
  std::vector<float> sums, factors;
  std::vector<uint64_t> words;
  std::vector<uint16_t> draws;

  explicit Scratch(int64_t width) : sums(width), factors(width, 1.0f), words(width / 4), draws(width) {}
};

WITHIN void draw(Key key, int64_t at, int64_t width, Scratch& scratch) {
  if (!key.threshold) return;
  const float scale = static_cast<float>(1.0 / key.keep());
  const uint16_t threshold = static_cast<uint16_t>(key.threshold);
  uint64_t* words = scratch.words.data();
  for (int64_t i = 0; i < width / 4; i++) words[i] = splitmix(key.seed, at / 4 + i);
  const uint16_t* draws = scratch.draws.data();
  std::memcpy(scratch.draws.data(), words, width * sizeof *draws);
  float* factors = scratch.factors.data();
  for (int64_t i = 0; i < width; i++) factors[i] = draws[i] < threshold ? 0.0f : scale;
}

WITHIN void norm_row(const ResidualNorm<float>& call, int64_t row, Scratch& scratch) {
  const int64_t at = row * call.width;
  float* sums = scratch.sums.data();
  draw(call.key, at, call.width, scratch);
  Half all[2] = {};
  for (int64_t i = 0; i < call.width; i += HALF) {
    const Half sum = load(call.x + at + i) * load(scratch.factors.data() + i) + load(call.residual + at + i);
    store(sums + i, sum);
    if (call.sum) store(call.sum + at + i, sum);
    all[i / HALF % 2] += sum;
  }
  const float width = static_cast<float>(call.width), mean = total(all) / width;
  Half squares[2] = {};
  for (int64_t i = 0; i < call.width; i += HALF) {
    const Half far = load(sums + i) - mean;
    squares[i / HALF % 2] += far * far;
  }
  const float inverse = 1.0f / std::sqrt(total(squares) / width + call.eps);
  for (int64_t i = 0; i < call.width; i += HALF) {
    const Half normed = (load(sums + i) - mean) * inverse, y = normed * load(call.weight + i);
    store(call.y + at + i, call.bias ? y + load(call.bias + i) : y);
    store(call.normed + at + i, normed);
  }
  call.inverse[row] = inverse;
}

WITHIN void norm_row_backward(const ResidualNormBackward<float>& call, int64_t row, Scratch& scratch) {
  const int64_t at = row * call.width;
  Half sums[2] = {}, along[2] = {};
  for (int64_t i = 0; i < call.width; i += HALF) {
    const Half gradient = load(call.gradient + at + i) * load(call.weight + i);
    sums[i / HALF % 2] += gradient;
    along[i / HALF % 2] += gradient * load(call.normed + at + i);
  }
  const float width = static_cast<float>(call.width), mean = total(sums) / width, slope = total(along) / width;
  const float inverse = call.inverse[row];
  if (call.of_x) draw(call.key, at, call.width, scratch);
  for (int64_t i = 0; i < call.width; i += HALF) {
    const Half gradient = load(call.gradient + at + i) * load(call.weight + i);
    Half found = (gradient - mean - load(call.normed + at + i) * slope) * inverse;
    if (call.gradient_of_sum) found += load(call.gradient_of_sum + at + i);
    if (call.of_residual) store(call.of_residual + at + i, found);
    if (call.of_x) store(call.of_x + at + i, found * load(scratch.factors.data() + i));
  }
}

FOR_EACH_CPU void forward(const ResidualNorm<float>& call, int64_t begin, int64_t end) {
  Scratch scratch(call.width);
  for (int64_t row = begin; row < end; row++) norm_row(call, row, scratch);
}

FOR_EACH_CPU void backward(const ResidualNormBackward<float>& call, int64_t begin, int64_t end) {
  Scratch scratch(call.width);
  for (int64_t row = begin; row < end; row++) norm_row_backward(call, row, scratch);
}

}  // namespace

void residual_norm(const ResidualNorm<float>& call, int64_t begin, int64_t end) { forward(call, begin, end); }
void residual_norm_backward(const ResidualNormBackward<float>& call, int64_t begin, int64_t end) {
  backward(call, begin, end);
}
