// The arithmetic of attention's probabilities on a GPU, a row at a time, forward and back. Read by NVRTC,
// and by the C++ compiler for the test that compares it with the definition. Who includes it has what
// drop_word.h has, and says what `exponential` and `larger` are.
//
// A row is computed by a group of threads: Group says how many there are, which of them this one is, and
// gives all of them the sum, or the largest, of what each has.
#pragma once

// The keys that a row sees: those before this one.
WITHIN int64_t seen_by(const ScoreRows& all, int64_t row) {
  return all.causal ? row % all.queries + all.tokens - all.queries + 1 : all.tokens;
}

// What is added to a row's scores, or null.
WITHIN const float* bias_of(const ScoreRows& all, int64_t row) {
  return all.bias ? all.bias + row / (all.heads * all.queries) * all.tokens : nullptr;
}

template <typename T>
WITHIN float score(const ScoreRows& all, const T* scores, const float* bias, int64_t at) {
  const float scaled = widened(scores[at]) * all.scale;
  return bias ? scaled + bias[at] : scaled;
}

// What the probability at a place is multiplied by.
WITHIN float factor(const ScoreRows& all, int64_t place) {
  const uint64_t bits = splitmix(all.key.seed, static_cast<uint64_t>(place / 4));
  const uint32_t draw = static_cast<uint32_t>(bits >> (16 * (place % 4))) & 0xffff;
  return draw < all.key.threshold ? 0.0f : all.kept;
}

// The probabilities of a row, of which some are dropped. `found` has, for the way back, two numbers of each
// row: its largest score, and the inverse of the sum of exponentials.
template <typename Group, typename T>
WITHIN void drop_row(const ScoreRows& all, const Group& group, int64_t row, const T* scores, T* dropped, float* found) {
  const int64_t begin = row * all.tokens, seen = seen_by(all, row);
  const float* bias = bias_of(all, row);
  float most = -3.402823466e38f;
  for (int64_t at = group.place; at < seen; at += group.size) {
    most = larger(most, score(all, scores + begin, bias, at));
  }
  most = group.largest(most);
  float sum = 0;
  for (int64_t at = group.place; at < seen; at += group.size) {
    sum += exponential(score(all, scores + begin, bias, at) - most);
  }
  const float inverse = 1.0f / group.sum(sum);
  for (int64_t at = group.place; at < all.tokens; at += group.size) {
    float share = 0;
    if (at < seen) {
      share = exponential(score(all, scores + begin, bias, at) - most) * inverse * factor(all, begin + at);
    }
    narrow(share, dropped[begin + at]);
  }
  if (group.place == 0) {
    found[2 * row] = most;
    found[2 * row + 1] = inverse;
  }
}

// The gradient by a row's scores of what drop_row gives, whose own is `gradient`.
template <typename Group, typename T>
WITHIN void drop_row_back(const ScoreRows& all, const Group& group, int64_t row, const T* scores, const float* found,
                          const T* gradient, T* by_scores) {
  const int64_t begin = row * all.tokens, seen = seen_by(all, row);
  const float* bias = bias_of(all, row);
  const float most = found[2 * row], inverse = found[2 * row + 1];
  float sum = 0;
  for (int64_t at = group.place; at < seen; at += group.size) {
    const float share = exponential(score(all, scores + begin, bias, at) - most) * inverse;
    sum += share * widened(gradient[begin + at]) * factor(all, begin + at);
  }
  sum = group.sum(sum);
  for (int64_t at = group.place; at < all.tokens; at += group.size) {
    float back = 0;
    if (at < seen) {
      const float share = exponential(score(all, scores + begin, bias, at) - most) * inverse;
      back = share * (widened(gradient[begin + at]) * factor(all, begin + at) - sum) * all.scale;
    }
    narrow(back, by_scores[begin + at]);
  }
}
