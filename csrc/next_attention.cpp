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
struct Scratch {
  std::vector<const float*> keys, values;
  // (heads, tokens padded to whole vectors)
  std::vector<float> scores;
};

// Where the keys and values of a text's tokens lie, of those in the window.
void find_tokens(const NextAttention& call, const Text& text, Scratch& scratch) {
  scratch.keys.clear();
  scratch.values.clear();
  const auto add = [&scratch](const Tokens& tokens, int64_t at) {
    scratch.keys.push_back(tokens.key + at * tokens.key_step);
    scratch.values.push_back(tokens.value + at * tokens.value_step);
  };
  const int64_t hidden = std::max<int64_t>(text.prompt_tokens + call.step_count - call.window, 0);
  for (int64_t i = hidden; i < text.prompt_tokens; i++) add(text.prompt, i);
  const int64_t first = std::max<int64_t>(hidden - text.prompt_tokens, 0);
  for (int64_t i = first; i < call.step_count; i++) add(call.steps[i], text.rows[i]);
}

// Caps the scores of a head, if there is a cap. Returns what softmax is still to multiply them by.
WITHIN float cap(const NextAttention& call, float* scores, int64_t tokens) {
  if (call.softcap == 0.0f) return call.scale;
  for (int64_t j = 0; j < tokens; j++) scores[j] = call.softcap * std::tanh(scores[j] * call.scale / call.softcap);
  return 1.0f;
}

WITHIN float inner_product(const float* a, const float* b, int64_t width) {
  Half sums[2] = {};
  for (int64_t i = 0; i < width; i += LANES) {
    sums[0] += load(a + i) * load(b + i);
    sums[1] += load(a + i + HALF) * load(b + i + HALF);
  }
  const Half both = sums[0] + sums[1];
  return ((both[0] + both[4]) + (both[2] + both[6])) + ((both[1] + both[5]) + (both[3] + both[7]));
}

FOR_EACH_CPU void attend(const NextAttention& call, int64_t index, Scratch& scratch) {
  find_tokens(call, call.texts[index], scratch);
  const int64_t tokens = static_cast<int64_t>(scratch.keys.size()), length = padded(tokens);
  const int64_t shared = call.heads / call.key_heads;
  const float* query = call.query + index * call.query_row;
  float* context = call.context + index * call.hidden();
  scratch.scores.resize(call.heads * length);
  float* scores = scratch.scores.data();
  // Token by token, as they lie in memory, rather than head by head.
  for (int64_t j = 0; j < tokens; j++) {
    for (int64_t head = 0; head < call.heads; head++) {
      const float* key = scratch.keys[j] + head / shared * call.width;
      scores[head * length + j] = inner_product(query + head * call.width, key, call.width);
    }
  }
  for (int64_t head = 0; head < call.heads; head++) {
    const float scale = cap(call, scores + head * length, tokens);
    softmax(scores + head * length, nullptr, scale, tokens, length);
  }
  std::fill(context, context + call.hidden(), 0.0f);
  for (int64_t j = 0; j < tokens; j++) {
    for (int64_t head = 0; head < call.heads; head++) {
      const float* value = scratch.values[j] + head / shared * call.width;
      const float share = scores[head * length + j];
      float* to = context + head * call.width;
      for (int64_t i = 0; i < call.width; i += HALF) store(to + i, load(to + i) + share * load(value + i));
    }
  }
}

}  // namespace

void attention_of_next(const NextAttention& call, int64_t begin, int64_t end) {
  Scratch scratch;
  for (int64_t index = begin; index < end; index++) attend(call, index, scratch);
}
