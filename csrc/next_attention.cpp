// Attention of one more token of each text, where texts are continued: keys and values are read where they
// lie, a prompt's once however many texts go on from it. What a text's token attends to, and so every
// bit of it, does not depend on the other texts.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels.h"
#include "vectors.h"

namespace {

// What a thread works in.
template <typename T>
struct Scratch {
  std::vector<const T*> keys, values;
  // (heads, tokens padded to whole vectors)
  std::vector<float> scores;
  // (heads, width)
  std::vector<float> context;
};

// Where the keys and values of a text's tokens lie, of those in the window.
template <typename T>
void find_tokens(const NextAttention<T>& call, const Text<T>& text, Scratch<T>& scratch) {
  scratch.keys.clear();
  scratch.values.clear();
  const auto add = [&scratch](const Tokens<T>& tokens, int64_t at) {
    scratch.keys.push_back(tokens.key + at * tokens.key_step);
    scratch.values.push_back(tokens.value + at * tokens.value_step);
  };
  const int64_t hidden = std::max<int64_t>(text.prompt_tokens + call.step_count - call.window, 0);
  for (int64_t i = hidden; i < text.prompt_tokens; i++) add(text.prompt, i);
  const int64_t first = std::max<int64_t>(hidden - text.prompt_tokens, 0);
  for (int64_t i = first; i < call.step_count; i++) add(call.steps[i], text.rows[i]);
}

// Caps the scores of a head, if there is a cap. Returns what softmax is still to multiply them by.
template <typename T>
WITHIN float cap(const NextAttention<T>& call, float* scores, int64_t tokens) {
  if (call.softcap == 0.0f) return call.scale;
  for (int64_t j = 0; j < tokens; j++) scores[j] = call.softcap * std::tanh(scores[j] * call.scale / call.softcap);
  return 1.0f;
}

template <typename V, typename T>
WITHIN float inner_product(const T* a, const T* b, int64_t width) {
  Lanes<V> sums = {};
  for (int64_t i = 0; i < width; i += LANES) {
    for (int64_t part = 0; part < PARTS<V>; part++) {
      const int64_t at = i + part * COUNT<V>;
      sums.part[part] += widened<V>(a + at) * widened<V>(b + at);
    }
  }
  Half halves[2];
  std::memcpy(halves, &sums, sizeof halves);
  const Half both = halves[0] + halves[1];
  return ((both[0] + both[4]) + (both[2] + both[6])) + ((both[1] + both[5]) + (both[3] + both[7]));
}

template <typename V, typename T>
WITHIN void attend(const NextAttention<T>& call, int64_t index, Scratch<T>& scratch) {
  find_tokens(call, call.texts[index], scratch);
  const int64_t tokens = static_cast<int64_t>(scratch.keys.size()), length = padded(tokens);
  const int64_t shared = call.heads / call.key_heads;
  const T* query = call.query + index * call.query_row;
  scratch.scores.resize(call.heads * length);
  scratch.context.assign(call.hidden(), 0.0f);
  float* scores = scratch.scores.data();
  // Token by token, as they lie in memory, rather than head by head.
  for (int64_t j = 0; j < tokens; j++) {
    for (int64_t head = 0; head < call.heads; head++) {
      const T* key = scratch.keys[j] + head / shared * call.width;
      scores[head * length + j] = inner_product<V>(query + head * call.width, key, call.width);
    }
  }
  for (int64_t head = 0; head < call.heads; head++) {
    const float scale = cap(call, scores + head * length, tokens);
    softmax<V>(scores + head * length, nullptr, scale, tokens, length);
  }
  for (int64_t j = 0; j < tokens; j++) {
    for (int64_t head = 0; head < call.heads; head++) {
      const T* value = scratch.values[j] + head / shared * call.width;
      const float share = scores[head * length + j];
      float* to = scratch.context.data() + head * call.width;
      for (int64_t i = 0; i < call.width; i += COUNT<V>) put<V>(to + i, load<V>(to + i) + share * widened<V>(value + i));
    }
  }
  T* context = call.context + index * call.hidden();
  for (int64_t i = 0; i < call.hidden(); i += COUNT<V>) put(context + i, load<V>(scratch.context.data() + i));
}

template <typename V, typename T>
WITHIN void attend_texts(const NextAttention<T>& call, int64_t begin, int64_t end) {
  Scratch<T> scratch;
  for (int64_t index = begin; index < end; index++) attend<V>(call, index, scratch);
}

}  // namespace

KERNEL(attention_of_next, attend_texts, NextAttention<float>)
KERNEL(attention_of_next, attend_texts, NextAttention<c10::BFloat16>)
