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

template <typename V>
WITHIN void norm_row(const ResidualNorm<float>& call, int64_t row, Scratch& scratch) {
  const int64_t at = row * call.width;
  float* sums = scratch.sums.data();
  draw(call.key, at, call.width, scratch);
  Lanes<V> all = {};
  for (int64_t begin = 0; begin < call.width; begin += LANES) {
    for (int64_t part = 0; part < PARTS<V>; part++) {
      const int64_t i = begin + part * COUNT<V>;
      const V sum = load<V>(call.x + at + i) * load<V>(scratch.factors.data() + i) + load<V>(call.residual + at + i);
      put(sums + i, sum);
      if (call.sum) put(call.sum + at + i, sum);
      all.part[part] += sum;
    }
  }
  const float width = static_cast<float>(call.width), mean = total(all) / width;
  Lanes<V> squares = {};
  for (int64_t begin = 0; begin < call.width; begin += LANES) {
    for (int64_t part = 0; part < PARTS<V>; part++) {
      const V far = load<V>(sums + begin + part * COUNT<V>) - mean;
      squares.part[part] += far * far;
    }
  }
  const float inverse = 1.0f / std::sqrt(total(squares) / width + call.eps);
  for (int64_t i = 0; i < call.width; i += COUNT<V>) {
    const V normed = (load<V>(sums + i) - mean) * inverse, y = normed * load<V>(call.weight + i);
    put<V>(call.y + at + i, call.bias ? y + load<V>(call.bias + i) : y);
    put(call.normed + at + i, normed);
  }
  call.inverse[row] = inverse;
}

template <typename V>
WITHIN void norm_row_backward(const ResidualNormBackward<float>& call, int64_t row, Scratch& scratch) {
  const int64_t at = row * call.width;
  Lanes<V> sums = {}, along = {};
  for (int64_t begin = 0; begin < call.width; begin += LANES) {
    for (int64_t part = 0; part < PARTS<V>; part++) {
      const int64_t i = begin + part * COUNT<V>;
      const V gradient = load<V>(call.gradient + at + i) * load<V>(call.weight + i);
      sums.part[part] += gradient;
      along.part[part] += gradient * load<V>(call.normed + at + i);
    }
  }
  const float width = static_cast<float>(call.width), mean = total(sums) / width, slope = total(along) / width;
  const float inverse = call.inverse[row];
  if (call.of_x) draw(call.key, at, call.width, scratch);
  for (int64_t i = 0; i < call.width; i += COUNT<V>) {
    const V gradient = load<V>(call.gradient + at + i) * load<V>(call.weight + i);
    V found = (gradient - mean - load<V>(call.normed + at + i) * slope) * inverse;
    if (call.gradient_of_sum) found += load<V>(call.gradient_of_sum + at + i);
    if (call.of_residual) put(call.of_residual + at + i, found);
    if (call.of_x) put<V>(call.of_x + at + i, found * load<V>(scratch.factors.data() + i));
  }
}

template <typename V>
WITHIN void forward(const ResidualNorm<float>& call, int64_t begin, int64_t end) {
  Scratch scratch(call.width);
  for (int64_t row = begin; row < end; row++) norm_row<V>(call, row, scratch);
}

template <typename V>
WITHIN void backward(const ResidualNormBackward<float>& call, int64_t begin, int64_t end) {
  Scratch scratch(call.width);
  for (int64_t row = begin; row < end; row++) norm_row_backward<V>(call, row, scratch);
}

}  // namespace

KERNEL(residual_norm, forward, ResidualNorm<float>)
KERNEL(residual_norm_backward, backward, ResidualNormBackward<float>)
