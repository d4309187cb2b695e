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

template <typename T>
WITHIN float inner_product(const T* a, const T* b, int64_t width) {
  Half sums[2] = {};
  for (int64_t i = 0; i < width; i += LANES) {
    sums[0] += widened(a + i) * widened(b + i);
    sums[1] += widened(a + i + HALF) * widened(b + i + HALF);
  }
  const Half both = sums[0] + sums[1];
  return ((both[0] + both[4]) + (both[2] + both[6])) + ((both[1] + both[5]) + (both[3] + both[7]));
}

template <typename T>
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
      scores[head * length + j] = inner_product(query + head * call.width, key, call.width);
    }
  }
  for (int64_t head = 0; head < call.heads; head++) {
    const float scale = cap(call, scores + head * length, tokens);
    softmax(scores + head * length, nullptr, scale, tokens, length);
  }
  for (int64_t j = 0; j < tokens; j++) {
    for (int64_t head = 0; head < call.heads; head++) {
      const T* value = scratch.values[j] + head / shared * call.width;
      const float share = scores[head * length + j];
      float* to = scratch.context.data() + head * call.width;
      for (int64_t i = 0; i < call.width; i += HALF) store(to + i, load(to + i) + share * widened(value + i));
    }
  }
  T* context = call.context + index * call.hidden();
  for (int64_t i = 0; i < call.hidden(); i += HALF) put(context + i, load(scratch.context.data() + i));
}

FOR_EACH_CPU void attend_to_floats(const NextAttention<float>& call, int64_t index, Scratch<float>& scratch) {
  attend(call, index, scratch);
}

FOR_EACH_CPU void attend_to_bfloat16(const NextAttention<c10::BFloat16>& call, int64_t index,
                                     Scratch<c10::BFloat16>& scratch) {
  attend(call, index, scratch);
}

}  // namespace

void attention_of_next(const NextAttention<float>& call, int64_t begin, int64_t end) {
  Scratch<float> scratch;
  for (int64_t index = begin; index < end; index++) attend_to_floats(call, index, scratch);
}

void attention_of_next(const NextAttention<c10::BFloat16>& call, int64_t begin, int64_t end) {
  Scratch<c10::BFloat16> scratch;
  for (int64_t index = begin; index < end; index++) attend_to_bfloat16(call, index, scratch);
}
